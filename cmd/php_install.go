package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker/handler/script/php"
)

// `pushd php --install FILE…` makes plain `php FILE start` become `pushd php
// FILE start`: one ini file of PHP's command line has it run a file first, which
// returns at once for all other programs. PHP-FPM has ini files of its own and
// is not touched; where it shares them, that file does nothing there.

const (
	phpINI  = "99-pushd.ini" // read last, so that it sees what others have set
	phpLead = "pushd-first.php"
	phpShim = "pushd" // folder
)

// phpSays asks PHP for a line of its own.
func phpSays(code string, flags ...string) (string, error) {
	name, err := phpBinary()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(name, append(flags, "-r", code)...).Output()
	if err != nil {
		return "", fmt.Errorf("ask PHP for its configuration: %w (Debian: apt-get install php-cli)", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// phpConfD is the folder of ini files that PHP's command line reads.
func phpConfD() (string, error) {
	dir, err := phpSays(`echo getenv('PHP_INI_SCAN_DIR') !== false ? getenv('PHP_INI_SCAN_DIR') : PHP_CONFIG_FILE_SCAN_DIR;`)
	if err != nil {
		return "", err
	}
	dirs := slices.DeleteFunc(filepath.SplitList(dir), func(s string) bool { return s == "" })
	if len(dirs) == 0 {
		return "", errors.New("this PHP reads no folder of ini files: use `pushctl php FILE start`")
	}
	return dirs[len(dirs)-1], nil
}

// phpLeads is what the file that PHP runs first does: for which programs, and
// what it runs behind.
type phpLeads struct {
	lead    string // the file
	files   []string
	chained string // what was run first before, "" = nothing
}

func (p *Program) phpInstall(files []string, out io.Writer) error {
	if len(files) == 0 {
		return misusef("name the files that start your servers: %s php --install /srv/chat/start.php", p.typed())
	}
	confd, err := phpConfD()
	if err != nil {
		return err
	}
	l, err := phpInstalled(filepath.Join(confd, phpLead))
	if err != nil {
		return err
	}
	if err := l.add(files); err != nil {
		return err
	}
	if err := l.chain(); err != nil {
		return err
	}
	shim := filepath.Join(confd, phpShim)
	binary, err := l.write(shim)
	if err != nil {
		return err
	}
	ini := filepath.Join(confd, phpINI)
	text := fmt.Sprintf("; written by `pushctl php --install`, removed by `pushctl php --uninstall`\nauto_prepend_file = %q\n", l.lead)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	l.tell(out, ini, binary)
	fmt.Fprintf(out, "wrote %s: what pushd has PHP run\n`%s php --uninstall` removes all three\n", shim, p.typed())
	return nil
}

// add takes further programs in, by the names that are typed, as forPHP does: what a
// symlink leads to is another file after the next deployment.
func (l *phpLeads) add(files []string) error {
	for _, f := range files {
		path := phpPath(f)
		if _, err := os.Stat(path); err != nil {
			return misuse{err}
		}
		if !slices.Contains(l.files, path) {
			l.files = append(l.files, path)
		}
	}
	return nil
}

// drop takes programs out: those of these names, else those that the names lead to.
func (l *phpLeads) drop(files []string) error {
	for _, f := range files {
		path := phpPath(f)
		i := slices.Index(l.files, path)
		if real, err := filepath.EvalSymlinks(path); i < 0 && err == nil {
			i = slices.Index(l.files, real)
		}
		if len(l.files) == 0 {
			return misusef("%s is not installed, and no other one is", path)
		}
		if i < 0 {
			return misusef("%s is not installed; these are: %s", path, strings.Join(l.files, ", "))
		}
		l.files = slices.Delete(l.files, i, i+1)
	}
	return nil
}

// phpPath is a file's name from the root on, through the symlinks that are typed.
func phpPath(file string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(master.WorkingDir(), file)
	}
	return file
}

// write writes the file that PHP runs first, and what that needs below shim; binary is
// what it becomes.
func (l *phpLeads) write(shim string) (binary string, err error) {
	first, err := php.Write(shim)
	if err != nil {
		return "", err
	}
	if binary, err = programPath(); err != nil {
		return "", err
	}
	if err := os.WriteFile(l.lead, phpLeadFile(l.files, l.chained, binary, first), 0o644); err != nil {
		return "", fmt.Errorf("install: %w (run it as the user who may write there)", err)
	}
	return binary, nil
}

// chain finds out what PHP runs first already.
func (l *phpLeads) chain() error {
	if l.chained != "" {
		return nil
	}
	current, err := phpSays(`echo ini_get('auto_prepend_file');`)
	if err == nil && filepath.Base(current) != phpLead {
		l.chained = current
	}
	return err
}

// tell says what was written where.
func (l *phpLeads) tell(out io.Writer, ini, binary string) {
	fmt.Fprintf(out, "wrote %s: PHP runs %s first\n", ini, l.lead)
	fmt.Fprintf(out, "wrote %s: of these files `php FILE start` becomes `%s php FILE start`, all others are left alone:\n", l.lead, binary)
	for _, f := range l.files {
		fmt.Fprintf(out, "  %s\n", f)
	}
	if l.chained != "" {
		fmt.Fprintf(out, "%s, which was run first before, still is\n", l.chained)
	}
}

// phpLeadFile is what PHP runs before every program.
func phpLeadFile(files []string, chained, binary, first string) []byte {
	var b bytes.Buffer
	b.WriteString("<?php\n// Written by `pushctl php --install`.\n")
	fmt.Fprintf(&b, "// chained: %s\n", chained)
	for _, f := range files {
		fmt.Fprintf(&b, "// file: %s\n", f)
	}
	b.WriteString(phpFinds)
	for _, f := range files {
		fmt.Fprintf(&b, "    %s,\n", phpString(f))
	}
	fmt.Fprintf(&b, "]);\nif (defined('PUSHD_FILE')) {\n    define('PUSHD_BINARY', %s);\n    putenv('PUSHD_PHP=' . PHP_BINARY);\n    require %s;\n}\n", phpString(binary), phpString(first))
	if chained != "" {
		fmt.Fprintf(&b, "require %s;\n", phpString(chained))
	}
	return b.Bytes()
}

// phpFinds says which of the programs is run: the one of the name that is typed, else one
// that is the same file. A shell says in PWD by which symlinks it is where it is.
const phpFinds = `(static function (array $files) {
    $typed = (string)($_SERVER['SCRIPT_FILENAME'] ?? '');
    $real = $typed === '' ? false : realpath($typed); // '': it is read from standard input
    if (PHP_SAPI !== 'cli' || get_cfg_var('pushd.role') !== false || $real === false) {
        return;
    }
    $pwd = (string)getenv('PWD');
    $dir = realpath($pwd) === getcwd() ? $pwd : getcwd();
    $parts = [];
    $full = $typed[0] === '/' ? $typed : "$dir/$typed";
    foreach (explode('/', $full) as $part) {
        if ($part === '..') {
            array_pop($parts);
        } elseif ($part !== '' && $part !== '.') {
            $parts[] = $part;
        }
    }
    $same = array_keys(array_combine($files, array_map('realpath', $files)), $real, true);
    if ($same) {
        define('PUSHD_FILE', current(array_intersect([$full, '/' . implode('/', $parts)], $same)) ?: $same[0]);
    }
})([
`

func phpString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

var phpNoted = regexp.MustCompile(`(?m)^// (file|chained): (.*)$`)

// phpInstalled reads what an earlier install has noted.
func phpInstalled(lead string) (*phpLeads, error) {
	l := &phpLeads{lead: lead}
	text, err := os.ReadFile(lead)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	for _, m := range phpNoted.FindAllStringSubmatch(string(text), -1) {
		if m[1] == "file" {
			l.files = append(l.files, m[2])
		} else {
			l.chained = m[2]
		}
	}
	return l, nil
}

// phpUninstall takes these programs out, without files all. With the last of them all
// that was written goes.
func phpUninstall(files []string, out io.Writer) error {
	confd, err := phpConfD()
	if err != nil {
		return err
	}
	if len(files) > 0 {
		l, err := phpInstalled(filepath.Join(confd, phpLead))
		if err != nil {
			return err
		}
		if err := l.drop(files); err != nil {
			return err
		}
		if len(l.files) > 0 {
			if _, err := l.write(filepath.Join(confd, phpShim)); err != nil {
				return err
			}
			fmt.Fprintf(out, "wrote %s: these are left: %s\n", l.lead, strings.Join(l.files, ", "))
			return nil
		}
	}
	removed := false
	for _, path := range []string{filepath.Join(confd, phpINI), filepath.Join(confd, phpLead), filepath.Join(confd, phpShim)} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
		removed = true
		fmt.Fprintf(out, "removed %s\n", path)
	}
	if !removed {
		fmt.Fprintf(out, "nothing is installed in %s\n", confd)
	}
	return nil
}
