// Package examples has the programs that people copy, one folder each.
package examples
