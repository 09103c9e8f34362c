package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func feed(s *summary, lines string) {
	for e := range events(strings.NewReader(lines), &bytes.Buffer{}) {
		s.note(e)
	}
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	s := newSummary(&out)
	var dump strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&dump, `{"Action":"output","Package":"github.com/pushd/pushd/b","Test":"TestHangs","Output":"goroutine %d\n"}`+"\n", i)
	}
	feed(s, `{"Action":"run","Package":"github.com/pushd/pushd/a","Test":"TestGood"}
{"Action":"pass","Package":"github.com/pushd/pushd/a","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"github.com/pushd/pushd/a","Test":"TestBad"}
{"Action":"output","Package":"github.com/pushd/pushd/a","Test":"TestBad","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"github.com/pushd/pushd/a","Test":"TestBad","Elapsed":0.1}
{"Action":"fail","Package":"github.com/pushd/pushd/a","Elapsed":1.5}
{"Action":"run","Package":"github.com/pushd/pushd/b","Test":"TestHangs"}
`+dump.String()+`{"Action":"fail","Package":"github.com/pushd/pushd/b","Elapsed":720}
{"ImportPath":"github.com/pushd/pushd/c","Action":"build-output","Output":"c.go:1: syntax error\n"}
{"Action":"fail","Package":"github.com/pushd/pushd/c"}
`)
	s.tell("all.log")
	got := out.String()
	for _, want := range []string{
		"FAIL     1.5 s  a (1 tests)", "    want 1, got 2", "failed (all output: all.log):",
		"  a TestBad\n", "  b TestHangs\n", "  c\n", "c.go:1: syntax error", "1 passed, 3 failed, 0 skipped\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "goroutine"); n != firstLines+lastLines {
		t.Errorf("%d lines of stacks, want %d", n, firstLines+lastLines)
	}
	if strings.Count(got, "\n  a TestBad") != 1 || strings.Contains(got, "  a\n") || strings.Contains(got, "  b\n") {
		t.Errorf("a failed package is named beside its test:\n%s", got)
	}
}

func TestAlive(t *testing.T) {
	var out bytes.Buffer
	s := newSummary(&out)
	feed(s, `{"Time":"2026-01-01T00:00:00Z","Action":"run","Package":"github.com/pushd/pushd/cmd/pushd","Test":"TestLong"}`+"\n")
	s.alive(time.Date(2026, 1, 1, 0, 1, 30, 0, time.UTC))
	if want := "…    0 passed so far, cmd/pushd TestLong since 90 s\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// TestExitCode: a failure of go test is one of the report.
func TestExitCode(t *testing.T) {
	var out bytes.Buffer
	if code, _ := run(t.TempDir()+"/log", []string{"./no-such-package"}, &out); code == 0 {
		t.Fatalf("exit 0 for a package that does not exist:\n%s", out.String())
	}
	if code, err := run(t.TempDir()+"/log", []string{"-run", "^$", "errors"}, &out); code != 0 || err != nil {
		t.Fatalf("exit %d, %v\n%s", code, err, out.String())
	}
}
