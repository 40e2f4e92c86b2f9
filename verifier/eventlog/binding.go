package eventlog

import "bytes"

// Binding is whether an event's digest vouches for its data.
type Binding uint8

// The outcomes of [Event.CheckData].
const (
	// DataUnbound: the digest says nothing about the data. Either it is the digest of something else (a kernel, a variable's
	// content), or there is no data, no digest of this bank, or the event was not extended.
	DataUnbound Binding = iota

	// DataDiffers: the specification says digest = H(data), and it is not so. Somebody changed the data, or the log's writer is broken.
	DataDiffers

	// DataMatches: digest = H(data). Whoever trusts the digest, because the replay equals a signed value, may trust the data.
	DataMatches
)

// String says the outcome in words.
func (b Binding) String() string {
	switch b {
	case DataDiffers:
		return "data differs from its digest"
	case DataMatches:
		return "data matches its digest"
	default:
		return "data not bound by its digest"
	}
}

// CheckData compares the event's data with its digest of bank a. The digest itself is trustworthy only where the replay of that
// bank equals a signed PCR value.
//
// Any type of event may match: equal hashes are equal data. Only the types of [EventType.BindsData] may differ.
func (e *Event) CheckData(a Alg) Binding {
	digest, ok := e.Digest(a)
	if !ok || !e.Extended() || len(e.Data) == 0 || a.Hash() == 0 {
		return DataUnbound
	}
	h := a.Hash().New()
	h.Write(e.Data)
	switch {
	case bytes.Equal(h.Sum(nil), digest):
		return DataMatches
	case e.Type.BindsData():
		return DataDiffers
	default:
		return DataUnbound
	}
}

// BindsData tells whether the specification demands that the digest of such an event is the hash of its data (if it has any).
//
// Not among them: EV_EFI_VARIABLE_BOOT and EV_EFI_VARIABLE_AUTHORITY, for which firmware and shim hash the variable's content
// alone at times; EV_IPL and EV_EVENT_TAG, whose digest is that of whatever a boot loader or the kernel's EFI stub measured.
func (t EventType) BindsData() bool {
	switch t {
	// PFP table 27, column "digest".
	case TypeSeparator, TypeAction, TypeSCRTMVersion, TypeOmitBootDeviceEvents,
		TypeEFIVariableConfig, TypeEFIVariableBoot2, TypeEFIGPT, TypeEFIAction:
		return true

	// MLE table E-6. EVTYPE_STM_HASH has data (a zero byte) only where there is no STM.
	case TypeHashStart, TypeBIOSACRegData, TypeCPUSCRTMStat, TypeLCPControlHash, TypeSTMHash, TypeOsSinitDataCap,
		TypeLCPDetailsHash, TypeLCPAuthorities, TypeNVInfoHash, TypeCapValue:
		return true

	default:
		return false
	}
}
