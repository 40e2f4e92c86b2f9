package tpmsim

import "errors"

var (
	// ErrNotInstalled is returned by Start if there is no swtpm program.
	ErrNotInstalled = errors.New("swtpm is not installed: install the package swtpm (its name on Debian, Ubuntu and Fedora)")

	// ErrStateInUse is returned by Start if another node runs on the same
	// Options.StateDir.
	ErrStateInUse = errors.New("state is in use by another simulated node: close that node or choose another state directory")

	// ErrBadFrame is returned by Send for bytes that are not one TPM 2.0 command;
	// they never reach the TPM.
	ErrBadFrame = errors.New("not a TPM 2.0 command")

	// ErrClosed is returned by the methods of a Node after Close.
	ErrClosed = errors.New("simulated node is closed")

	// ErrDied is returned if swtpm ended although nobody closed the node.
	ErrDied = errors.New("swtpm died")
)
