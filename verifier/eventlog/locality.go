package eventlog

import "strings"

// startupLocality begins the data of the EV_NO_ACTION event that tells where TPM2_Startup came from (PFP 9.4.5.3).
const startupLocality = "StartupLocality\x00"

// startLocality returns the last byte of PCR 0's start value, or what makes it unknown and the event that does.
//
// Both events it looks for report what happened before the first measurement, so their place in the log does not
// matter. An H-CRTM wins: it leaves 4 whatever the locality of TPM2_Startup (TPM2 Part 3, 9.3.1).
func (l *Log) startLocality() (locality byte, reason string, event *Event) {
	var told bool
	var hcrtm bool
	for i := range l.Events {
		e := &l.Events[i]
		if e.PCR != 0 {
			continue
		}
		if e.Type == TypeEFIHCRTM {
			hcrtm = true
		}
		loc, ok := e.startupLocality()
		if !ok {
			continue
		}
		switch {
		case loc != 0 && loc != 3 && loc != 4:
			reason, event = "TPM2_Startup is possible at localities 0 and 3, and 4 stands for an H-CRTM", e
		case told && loc != locality:
			reason, event = "a second StartupLocality that differs from the first", e
		}
		told, locality = true, loc
	}
	if hcrtm {
		locality = 4
	}

	return locality, reason, event
}

// startupLocality decodes TCG_EfiStartupLocalityEvent: 17 bytes, the last one is the locality.
func (e *Event) startupLocality() (byte, bool) {
	if e.Type != TypeNoAction || len(e.Data) != len(startupLocality)+1 || !strings.HasPrefix(string(e.Data[:len(startupLocality)]), startupLocality) {
		return 0, false
	}

	return e.Data[len(startupLocality)], true
}
