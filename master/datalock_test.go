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
	lock := m.data[data.Dir]
	time.AfterFunc(50*time.Millisecond, func() { lock.Close() }) // killed
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

// TestDataDirThroughReloads: a reload to another one lets go of the first, and the new
// code of the master has what the old had.
func TestDataDirThroughReloads(t *testing.T) {
	r := newUpgradable(t, 1)
	first, second := &DataPlan{Dir: r.path("first")}, &DataPlan{Dir: r.path("second")}
	r.plan.Broker.Data = first
	r.savePlan()
	i := r.start()
	has := func(d *DataPlan) bool {
		t.Helper()
		var used *DataInUseError
		err := dataFree(d)
		if err != nil && (!errors.As(err, &used) || used.PID != i.cmd.Process.Pid) {
			t.Errorf("%s: %v", d.Dir, err)
		}
		return err != nil
	}
	if !has(first) {
		t.Error("after the start it is free")
	}
	r.plan.Broker.Data, r.plan.Broker.Spec = second, r.spec("broker", "moved")
	r.savePlan()
	i.reload()
	if has(first) || !has(second) {
		t.Errorf("after a reload to another: first %v, second %v", has(first), has(second))
	}
	r.deploy("another build")
	if report := i.reload(); report.Master == nil {
		t.Fatalf("%+v", report)
	}
	if !has(second) {
		t.Error("after the master's replacement it is free")
	}
	i.stop()
}
