// Package docs is the documentation. Its tests type what it tells people to type.
package docs
