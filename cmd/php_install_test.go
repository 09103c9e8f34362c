package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPHPInstall: which of the installed programs PHP takes what is typed for. A symlink
// that leads elsewhere since the last deployment is the same program.
func TestPHPInstall(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Fatal("this test needs PHP: apt-get install php-cli")
	}
	dir := sandbox(t)
	confd := filepath.Join(dir, "conf.d")
	t.Setenv("PHP_INI_SCAN_DIR", ":"+confd)
	for _, d := range []string{"conf.d", "r1", "r2", "other"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, d+"/start.php", "<?php")
	}
	link := func(to, name string) {
		_ = os.Remove(name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	install := func(args ...string) string {
		t.Helper()
		code, out, errOut := run(t, append([]string{"php"}, args...)...)
		if code != exitOK {
			t.Fatalf("%q: exit %d, %s", args, code, errOut)
		}
		return out
	}
	// takes tells which program a command line is for, "" = none.
	takes := func(in, file string) string {
		t.Helper()
		lead, err := os.ReadFile(filepath.Join(confd, phpLead))
		if err != nil {
			t.Fatal(err)
		}
		at, _, ok := strings.Cut(string(lead), "if (defined('PUSHD_FILE'))")
		if !ok {
			t.Fatalf("the file that PHP runs first is %s", lead)
		}
		write(t, filepath.Join(confd, "says.php"), at+"echo defined('PUSHD_FILE') ? PUSHD_FILE : '', \"\\n\";")
		cmd := exec.Command("php", "-n", "-d", "display_errors=1", "-d", "auto_prepend_file="+filepath.Join(confd, "says.php"), file)
		if file == "" {
			cmd.Args = cmd.Args[:len(cmd.Args)-1]
			cmd.Stdin = strings.NewReader("<?php")
		}
		cmd.Dir = filepath.Join(dir, in) // and PWD
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("php %s: %v\n%s", file, err, out)
		}
		return strings.TrimPrefix(strings.TrimSpace(string(out)), dir+"/")
	}

	link("r1", "current")
	link("start.php", "other/l.php")
	install("--install", "current/start.php", filepath.Join(dir, "other/l.php"))
	link("r2", "current")
	for _, x := range []struct{ in, file, want string }{
		{"", "current/start.php", "current/start.php"},
		{"", dir + "/current/start.php", "current/start.php"},
		{"", "./r1/../current//start.php", "current/start.php"},
		{"current", "start.php", "current/start.php"},
		{"r1", "../current/start.php", "current/start.php"},
		{"r2", "start.php", "current/start.php"}, // another name of the same file
		{"r1", "start.php", ""},
		{"other", "l.php", "other/l.php"},
		{"other", "start.php", "other/l.php"},
		{"current", "", ""}, // a program that is read from standard input
	} {
		if got := takes(x.in, x.file); got != x.want {
			t.Errorf("in %q: php %s is taken for %q, want %q", x.in, x.file, got, x.want)
		}
	}

	if out := install("--uninstall", "other/l.php"); !strings.Contains(out, "these are left: "+dir+"/current/start.php\n") {
		t.Errorf("uninstall of one says %q", out)
	}
	if got := takes("", "other/l.php") + takes("", "current/start.php"); got != "current/start.php" {
		t.Errorf("without the other one is left: %q", got)
	}
	if code, _, errOut := run(t, "php", "--uninstall", "other/l.php"); code != exitMisuse || !strings.Contains(errOut, "other/l.php is not installed; these are: "+dir+"/current/start.php") {
		t.Errorf("uninstall of what is not: exit %d, %q", code, errOut)
	}
	install("--uninstall", "current/start.php")
	if code, _, errOut := run(t, "php", "--uninstall", "other/l.php"); code != exitMisuse || !strings.Contains(errOut, "other/l.php is not installed, and no other one is") {
		t.Errorf("uninstall where none is: exit %d, %q", code, errOut)
	}
	if left, _ := filepath.Glob(confd + "/*pushd*"); len(left) > 0 {
		t.Errorf("with the last one goes all: %q is left", left)
	}
	install("--install", "r1/start.php", "r2/start.php")
	install("--uninstall")
	if left, _ := filepath.Glob(confd + "/*pushd*"); len(left) > 0 {
		t.Errorf("without a name all go: %q is left", left)
	}
}
