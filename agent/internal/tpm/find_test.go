package tpm

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// TestAutoFollowsADeviceThatComesBackUnderAnotherNumber stands for a driver that was unbound and bound again: the sockets have the names that Linux would give.
func TestAutoFollowsADeviceThatComesBackUnderAnotherNumber(t *testing.T) {
	t.Parallel()

	node := tpmsimtest.Start(t, tpmsim.Options{})
	dir := shortDir(t)

	for _, name := range []string{"tpmrm0", "tpmrm1"} {
		path := filepath.Join(dir, name)

		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}

		ctx, unbind := context.WithCancel(t.Context())
		served := make(chan error, 1)

		go func() { served <- node.Serve(ctx, listener) }()

		device, err := openIn(dir, Auto)
		if err != nil {
			t.Fatal(err)
		}

		if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(device); err != nil {
			t.Errorf("%s: %v", name, err)
		}

		unbind()

		if err := errors.Join(<-served, device.Close()); err != nil {
			t.Error(err)
		}

		_ = os.Remove(path) // closing the listener may have done so

		if _, err := openIn(dir, Auto); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "tpmrmN") {
			t.Errorf("with no device: %v", err)
		}
	}
}

func TestAutoTakesTheLowestNumber(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	for _, name := range []string{"tpmrm10", "tpmrm2", "tpmrm", "tpmrm01", "tpmrm-1", "tpm0", "xtpmrm0"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if got, err := find(dir); err != nil || filepath.Base(got) != "tpmrm2" {
		t.Errorf("found %q, %v", got, err)
	}
}

// TestAutoTellsAFolderItMayNotReadFromAMachineWithoutTPM is about confinement, as by AppArmor: the operator has to look at the profile, not into the firmware.
func TestAutoTellsAFolderItMayNotReadFromAMachineWithoutTPM(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "no-folder")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := openIn(file, Auto); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "looking for") {
		t.Errorf("got %v, want the reason why the folder can't be read", err)
	}
}

func TestAFixedPathSaysWhatItWaitsForAndWhatThereIs(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	path := filepath.Join(dir, "tpmrm0")

	_, err := Open(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "waiting for "+path) || strings.Contains(err.Error(), "there is") {
		t.Errorf("with nothing there: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dir, "tpmrm1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	_, err = Open(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is "+filepath.Join(dir, "tpmrm1")) {
		t.Errorf("with another one there: %v", err)
	}
}

// shortDir is a folder whose path leaves room for a socket's name (unix(7)).
func shortDir(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	return dir
}
