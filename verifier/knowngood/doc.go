// Package knowngood works on known-good values before they are relied on: it computes what new files will measure, says how two sets differ, and reads and writes the formats of
// others. It talks to nobody: an operator runs it on files.
//
// # What it knows of boots
//
// A digest is computed by the rule of whoever measures, in the bank of the slot:
//
//   - tboot, PCR 17: a module is H(H(command line) || H(image)) (tboot, policy.c, hash_module; tb_polgen computes the same). The command line is what the boot loader hands over,
//     without a zero byte at its end; GRUB 2 hands over what stands behind the file's name in its module2 line.
//   - SINIT, PCR 17: tboot itself is the hash of its MLE pages with its own command line in them (Intel TXT MLE Developer's Guide, 2.1; lcp2_mlehash computes the same).
//   - GRUB, PCR 9: the hash of each file that it reads. PCR 8: the hash of each command and of the kernel's command line, as text without a zero byte.
//   - UEFI firmware and shim, PCR 4: the Authenticode hash of each image that they start (Windows Authenticode Portable Executable Signature Format, 1.0).
//   - systemd-boot and Linux' EFI stub, PCR 8, 9 and 12: the hash of a command line in UTF-16 with a zero at its end; the hash of the initrd.
//   - systemd-stub, PCR 11: of each section of a unified kernel image the hash of its content.
//
// Where a rule has no fixed place, the place is found by the old content: the slot that allows the old content's digest is the one that will hold the new one's. Nothing is guessed: content that
// no slot allows is an error.
package knowngood
