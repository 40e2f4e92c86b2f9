package tpm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fullRecord() Record {
	return Record{
		AK:      &KeyRecord{Algorithm: ECDSAP256, Generation: 1, Handle: 0x81018101, Name: []byte{0, 11, 1, 2, 3}, Enrolled: true, Certificate: []byte("der")},
		Pending: &KeyRecord{Algorithm: RSA2048, Generation: 2, Handle: 0x81018102, Name: []byte{0, 11, 4}},
		Retired: &KeyRecord{Algorithm: ECDSAP384, Generation: 0, Handle: 0x81018100, Name: []byte{0, 12, 5}},
	}
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "ak.json")
	for _, want := range []Record{fullRecord(), {}} {
		if err := writeRecord(path, want); err != nil {
			t.Fatal(err)
		}

		got, err := readRecord(path)
		if err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}

	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestARecordDamagedAnywhereIsNotBelieved(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "ak.json")
	if err := writeRecord(path, fullRecord()); err != nil {
		t.Fatal(err)
	}

	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	damage := func(what string, at int, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}

		got, err := readRecord(path)
		if err == nil && !cmp.Equal(got, fullRecord()) {
			t.Errorf("%s at %d: another record is believed: %+v", what, at, got)
		}

		if err != nil && !errors.Is(err, ErrRecord) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}

	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		damage("flip", i, flipped)
		damage("cut", i, good[:i])
	}

	damage("more", 0, append(bytes.Clone(good), good...))
}

func TestNoRecordIsAnEmptyOne(t *testing.T) {
	t.Parallel()

	got, err := readRecord(filepath.Join(t.TempDir(), "ak.json"))
	if err != nil || got.AK != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnotherVersionIsSaidSo(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "ak.json")
	if err := os.WriteFile(path, []byte(`{"version": 2, "record": {}, "sha256": ""}`), 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := readRecord(path); !errors.Is(err, ErrRecord) {
		t.Errorf("got %v", err)
	}
}

func TestAFailedWriteKeepsTheOldRecord(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(dir, "ak.json")
	if err := writeRecord(path, fullRecord()); err != nil {
		t.Fatal(err)
	}

	// A folder in the way of the rename: root is not stopped by file modes.
	blocked := filepath.Join(dir, "blocked")
	if err := os.MkdirAll(filepath.Join(blocked, "child"), 0o700); err != nil {
		t.Fatal(err)
	}

	if err := writeRecord(blocked, Record{}); err == nil {
		t.Error("a folder was overwritten")
	}

	if got, err := readRecord(path); err != nil || got.AK == nil {
		t.Errorf("got %+v, %v", got, err)
	}

	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
