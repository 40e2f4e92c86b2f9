package tpmsim

import (
	"fmt"
	"slices"
	"strings"
)

// Loader names what performs a node's measured launch. It decides what is
// extended at locality 2, into which banks, and how the log tells it. The zero
// value means Tboot.
type Loader string

// The loaders.
const (
	// Tboot launches Xen and extends all banks (extpol=embedded).
	Tboot Loader = "tboot"
	// TbootSHA256 is tboot as it is without being told otherwise
	// (extpol=sha256): its own events, the modules among them, are extended and
	// logged in the SHA-256 bank alone, while SINIT's are in all.
	TbootSHA256 Loader = "tboot-sha256"
	// TrenchBoot launches Linux directly (Secure Launch), and Linux measures what
	// it was given by the policy that TrenchBoot's GRUB writes, into all banks.
	// The kernel is the hypervisor there and SINIT measures it, so that
	// OtherHypervisor and OtherKernel are another MLE.
	TrenchBoot Loader = "trenchboot"
)

// Loaders returns all loaders, Tboot first.
func Loaders() []Loader { return []Loader{Tboot, TbootSHA256, TrenchBoot} }

// ParseLoader returns the loader of that name, or an error that lists the names.
// The empty string is an error.
func ParseLoader(s string) (Loader, error) {
	if slices.Contains(Loaders(), Loader(s)) {
		return Loader(s), nil
	}

	names := make([]string, 0, len(Loaders()))
	for _, known := range Loaders() {
		names = append(names, string(known))
	}
	return "", fmt.Errorf("unknown loader %q: use one of %s", s, strings.Join(names, ", "))
}

// system is what a host boots.
type system struct {
	hypervisor, kernel module
}

func expectedSystem() system { return system{hypervisorModule(), kernelModule()} }

// layout returns where the loader leaves its log.
func (l Loader) layout() RootLayout {
	if l == TrenchBoot {
		return SecureLaunch
	}
	return TXTHeap
}

// launch returns the launch of a system.
func (l Loader) launch(s system) (*launch, error) {
	switch l {
	case "", Tboot:
		return tbootLaunch(s, activeBanks()), nil
	case TbootSHA256:
		return tbootLaunch(s, []bank{sha256Bank()}), nil
	case TrenchBoot:
		return trenchBootLaunch(s), nil
	default:
		_, err := ParseLoader(string(l))
		return nil, err
	}
}
