package tpm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Auto, in the place of a path, means the kernel's resource manager with the lowest number that is there at each opening. Linux counts on when a TPM's driver is
// unbound and bound again while somebody has the device open: what was /dev/tpmrm0 may come back as /dev/tpmrm1.
const Auto = "auto"

// resourceManager is how Linux names its resource managers in /dev, before their number (drivers/char/tpm/tpm-chip.c, tpm_chip_alloc).
const resourceManager = "tpmrm"

// find returns the resource manager in a folder that has the lowest number.
func find(dir string) (string, error) {
	found, err := managers(dir)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", filepath.Join(dir, resourceManager+"N"), err)
	}

	if len(found) == 0 {
		return "", fmt.Errorf("waiting for %s: %w; the machine has no TPM, the firmware hides it, or its driver is not bound",
			filepath.Join(dir, resourceManager+"N"), fs.ErrNotExist)
	}

	return found[0], nil
}

// missing says what is waited for at a path where nothing is, and what there is instead.
func missing(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	others, unread := managers(filepath.Dir(path))
	if unread != nil || len(others) == 0 {
		return fmt.Errorf("waiting for %s: %w", path, err)
	}

	return fmt.Errorf("waiting for %s: %w; there is %s: name that as tpm.device, or write %s to take what there is",
		path, err, strings.Join(others, ", "), Auto)
}

// managers lists the resource managers in a folder by rising number.
func managers(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}

	var numbers []uint64

	for _, entry := range entries {
		digits, is := strings.CutPrefix(entry.Name(), resourceManager)
		if number, err := strconv.ParseUint(digits, 10, 16); is && err == nil && strconv.FormatUint(number, 10) == digits {
			numbers = append(numbers, number)
		}
	}

	slices.Sort(numbers)

	paths := make([]string, len(numbers))
	for i, number := range numbers {
		paths[i] = filepath.Join(dir, resourceManager+strconv.FormatUint(number, 10))
	}

	return paths, nil
}
