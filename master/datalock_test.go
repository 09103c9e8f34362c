//go:build linux

package master

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDataDirIsOnes: a data directory has one master, which keeps it until it ends
// or has another.
func TestDataDirIsOnes(t *testing.T) {
	base := t.TempDir()
	data := &DataPlan{Dir: filepath.Join(base, "made", "data")}
	m := newMaster(Options{}, defaultTiming)
	if err := m.lockData(data); err != nil {
		t.Fatal(err)
	}
	if err := m.lockData(data); err != nil {
		t.Errorf("again: %v", err)
	}
	var used *DataInUseError
	if err := dataFree(data); !errors.As(err, &used) || used.PID != os.Getpid() || used.Dir != data.Dir {
		t.Errorf("to another one it is %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { m.data[data.Dir].Close() }) // killed
	if f, err := openData(data.Dir, time.Minute); f == nil {
		t.Errorf("of one that ends: %v", err)
	} else {
		m.data[data.Dir] = f
	}
	next := &DataPlan{Dir: filepath.Join(base, "next")}
	if err := m.lockData(next); err != nil {
		t.Fatal(err)
	}
	m.unlockData(next)
	if dataFree(data) != nil || dataFree(next) == nil {
		t.Errorf("after a change: %v, %v", dataFree(data), dataFree(next))
	}
	m.unlockData(nil)
	for _, d := range []*DataPlan{nil, next, {Dir: filepath.Join(base, "none")}} {
		if err := dataFree(d); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.lockData(&DataPlan{Dir: filepath.Join(file, "data")}); err != nil { // the broker process says why
		t.Error(err)
	}
}
