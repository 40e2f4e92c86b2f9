// Package tpmsim is a node with a measured launch and no hardware: a software
// TPM (swtpm) manufactured like a real one, an Intel TXT launch measured into
// its PCRs 17 and 18 by the rules of tboot or TrenchBoot, and the event log of that
// launch.
//
// The launch is real as far as a TPM can tell: the dynamic root of trust runs
// at locality 4, SINIT's measurements are extended at locality 3, those of the
// measured environment at locality 2, and then the TPM stays at locality 0, from
// which nobody can extend or reset PCRs 17 to 19. Everything measured is made
// up but fixed: the same [Scenario] and [Loader] give the same log and the same
// PCR values on every node, so that values learned from one node hold for another.
//
// Around the launch are the things that befall real nodes: a [Scenario] is one
// that a node boots into, a method such as [Node.Clear] one that happens while it
// runs. [Loader] chooses who performs the launch, [Endorsement] how the vendor
// shipped the TPM, and [Node.WriteRoot] writes the log to where a host keeps it.
//
// The package writes the log format on its own and shares no code with the
// parsers that read it, so that one misreading cannot hide in both.
//
// # What it does not simulate
//
// The platform hierarchy keeps its empty authorization, PCRs 0 to 16 hold no
// firmware measurements, and there is no resource manager: the TPM has room for
// three transient objects and three loaded sessions in all.
//
// The package is for Linux and needs the program swtpm, 0.7 or later.
package tpmsim
