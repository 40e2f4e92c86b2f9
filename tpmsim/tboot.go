package tpmsim

import (
	"encoding/binary"

	"github.com/google/go-tpm/tpm2"
)

// module is a file that the boot loader gives to tboot. The contents are made
// up; only their hashes matter.
type module struct {
	// cmdline is without the file's name, which tboot does not measure.
	cmdline string
	image   string
}

// hypervisorModule returns the expected module 0.
func hypervisorModule() module {
	return module{
		cmdline: "dom0_mem=2048M,max:2048M ucode=scan iommu=force",
		image:   "simulated xen.gz, version 4.17.3",
	}
}

// otherHypervisorModule returns a module 0 that differs in its image only.
func otherHypervisorModule() module {
	m := hypervisorModule()
	m.image = "simulated xen.gz, version 4.17.3, changed by somebody"
	return m
}

// kernelModule returns the expected module 1.
func kernelModule() module {
	return module{
		cmdline: "root=/dev/mapper/vg0-root ro intel_iommu=on",
		image:   "simulated dom0 kernel, version 6.1.0",
	}
}

// otherKernelModule returns a module 1 that differs in its image only.
func otherKernelModule() module {
	m := kernelModule()
	m.image = "simulated dom0 kernel, version 6.1.0, changed by somebody"
	return m
}

func initrdModule() module {
	return module{image: "simulated dom0 initrd, version 6.1.0"}
}

// digest returns tboot's measurement of a module: the hash of the hashes of its
// command line and of its image.
func (m module) digest(b bank) []byte {
	return b.sum(b.sum([]byte(m.cmdline)), b.sum([]byte(m.image)))
}

// tbootLaunch returns the launch of a host that boots tboot with this system and
// tboot's stock policy. SINIT extends every bank, tboot those that it is told to.
func tbootLaunch(s system, banks []bank) *launch {
	return &launch{
		hashStart: hashStartData(),
		steps: append(sinitSteps(activeBanks(), tbootImage),
			tbootSteps(banks, s.hypervisor, s.kernel, initrdModule())...),
	}
}

// tbootSteps returns what tboot extends at locality 2 under its stock policy for
// the details and authorities mapping: its policy into PCRs 17 and 18, then all
// modules into PCR 17. PCR 19 is not used.
func tbootSteps(banks []bank, modules ...module) []step {
	steps := []step{
		{pcr: pcrDetails, measure: tbootPolicyDigest},
		{pcr: pcrAuthorities, measure: tbootPolicyDigest},
	}
	for _, m := range modules {
		steps = append(steps, step{pcr: pcrDetails, measure: m.digest})
	}

	for i := range steps {
		steps[i].typ, steps[i].locality, steps[i].banks = evtypeTboot, localityMLE, banks
	}
	return steps
}

// tbootPolicyDigest returns the hash of the policy control and the hash of the
// policy.
func tbootPolicyDigest(b bank) []byte {
	const extendPCR17 = 1

	control := le32(extendPCR17)
	return b.sum(control, b.sum(tbootStockPolicy(control)))
}

// tbootStockPolicy returns tboot's tb_policy_t for a host that has none of its
// own, for which the SHA-256 digest of tbootPolicyDigest is the same on hosts all
// over the field.
func tbootStockPolicy(control []byte) []byte {
	const (
		version, nonFatal = 2, 0
		anyModule, rawNV  = 129, 131
		noPCR, anyHash    = 255, 0
		geoTag            = 0x40000010
	)

	entry := func(module, pcr byte, nvIndex uint32) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{module, pcr, anyHash}, nvIndex)
		return append(b, 0) // no hashes
	}

	p := []byte{version, nonFatal, byte(tpm2.TPMAlgSHA256)}
	p = append(p, control...)
	p = append(p, 0, 0, 0, 0) // reserved
	p = append(p, 3)          // entries
	p = append(p, entry(0, noPCR, 0)...)
	p = append(p, entry(anyModule, byte(pcrDetails), 0)...)
	return append(p, entry(rawNV, 22, geoTag)...)
}
