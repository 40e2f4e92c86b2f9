package tpmsim

// trenchBootLaunch returns the launch of a host whose GRUB starts Linux by Secure
// Launch.
func trenchBootLaunch(s system) *launch {
	banks := activeBanks()
	// KVM is a part of the kernel, and the kernel is what SINIT measures.
	mle := s.kernel.image + ", " + s.hypervisor.image
	return &launch{
		hashStart: hashStartData(),
		steps:     append(sinitSteps(banks, mle), secureLaunchSteps(banks, s.kernel)...),
	}
}

// secureLaunchSteps returns what Linux extends at locality 2 before it trusts
// anything that it was given: in the order and into the PCRs of the policy that
// TrenchBoot's GRUB hands over in the Secure Launch Resource Table (SLRT), each
// with that policy's text as its data.
func secureLaunchSteps(banks []bank, kernel module) []step {
	steps := []step{
		labelled(pcrAuthorities, "Measured SLR Table", "simulated SLRT"),
		labelled(pcrAuthorities, "Measured boot parameters", "simulated zero page"),
		labelled(pcrAuthorities, "Measured Kernel command line", kernel.cmdline),
		labelled(pcrAuthorities, "Measured EFI memory map", "simulated EFI memory map"),
		labelled(pcrDetails, "Measured Kernel initrd", initrdModule().image),
		labelled(pcrAuthorities, "Measured TXT OS-MLE data", "simulated OsMleData"),
	}
	for i := range steps {
		steps[i].typ, steps[i].locality, steps[i].banks = evtypeSecureLaunch, localityMLE, banks
	}
	return steps
}

// labelled is a step whose data is a text for people, and no part of its digest.
func labelled(pcr uint32, label, what string) step {
	s := undisclosed(pcr, 0, what)
	s.data = []byte(label)
	return s
}
