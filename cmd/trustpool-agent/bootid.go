package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// bootIDVariable tells this boot's id to a unit that ProcSubset=pid hides the kernel's own file from: Environment=TRUSTPOOL_AGENT_BOOT_ID=%b.
const bootIDVariable = "TRUSTPOOL_AGENT_BOOT_ID"

// bootID returns what the variable says, in the form of the kernel's file; empty if it is not set.
func bootID() (string, error) {
	value := os.Getenv(bootIDVariable)
	if value == "" {
		return "", nil
	}

	id, err := hex.DecodeString(strings.ReplaceAll(value, "-", ""))
	if err != nil || len(id) != 16 {
		return "", daemon.UsageError{Err: fmt.Errorf("%s is %q, not a boot id of 32 hexadecimal digits; in a unit, write Environment=%s=%%b", bootIDVariable, value, bootIDVariable)}
	}

	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]), nil
}
