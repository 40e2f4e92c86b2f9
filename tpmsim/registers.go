package tpmsim

// publicSpace is the physical address of the TXT registers that all software can
// read. Intel TXT MLE Developer's Guide, appendix B.
const publicSpace = 0xfed30000

// register is a TXT register and, if Linux's Secure Launch has one for it, its
// file in securityfs.
type register struct {
	offset int64
	file   string
	bits   int // as the file tells them; in memory each takes 64
	value  uint64
}

// registers returns the public registers of a machine that was launched, or was
// not, by values seen on a laptop with tboot.
func registers(launched bool) []register {
	const (
		didvid        = 0x00000001b0068086 // revision 1, device B006, vendor Intel
		verEMIF       = 0x9d003000
		senterDone    = 0x000180b1 // private space and localities 1 and 2 open
		launchSuccess = 0xc0000001
		secrets       = 0x0000000e
	)

	var sts, errorCode, e2sts uint64
	if launched {
		sts, errorCode, e2sts = senterDone, launchSuccess, secrets
	}
	return []register{
		{0x000, "sts", 64, sts},
		{0x008, "ests", 8, 0},
		{0x030, "errorcode", 32, errorCode},
		{0x110, "didvid", 64, didvid},
		{0x200, "ver_emif", 32, verEMIF},
		{0x300, "", 64, heapBase},
		{0x308, "", 64, heapSize},
		{0x378, "scratchpad", 64, 0},
		{0x8f0, "e2sts", 64, e2sts},
	}
}
