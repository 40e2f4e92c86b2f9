// Package vmtest installs trustpool in a virtual machine as its users do, and holds what it then does against what it should: a Debian guest under QEMU with UEFI
// firmware and a software TPM, so that there are a real kernel with /dev/tpmrm0, a real firmware event log and a real systemd. No hardware and no KVM are needed.
//
// The test itself has the build tag "vm", because it takes minutes: make vm-test. What it stands on has none, so that it is tested with everything else:
//
//   - Mux lies between QEMU and swtpm, in both channels, and sees each command that reaches the TPM;
//   - Mux.Launch performs a measured launch behind the guest's back, as a chipset does;
//   - the script image makes the guest's disk, kernel and initrd, into a cache outside the tree.
//
// # What it does not show
//
// No processor runs GETSEC[SENTER] here: of a launch, only what the TPM sees is real, and the launch's log is given to the guest as a file. QEMU's TPM interfaces offer
// no locality above 0 to the guest.
package vmtest
