package eventlog

import (
	"fmt"
	"strconv"
	"strings"
)

// EventType says what an event is about. It is part of no digest: see the package comment.
type EventType uint32

// Types of firmware and boot loader events (PFP table 27 and its successors).
const (
	TypePrebootCert            EventType = 0x00
	TypePostCode               EventType = 0x01
	TypeUnused                 EventType = 0x02
	TypeNoAction               EventType = 0x03
	TypeSeparator              EventType = 0x04
	TypeAction                 EventType = 0x05
	TypeEventTag               EventType = 0x06
	TypeSCRTMContents          EventType = 0x07
	TypeSCRTMVersion           EventType = 0x08
	TypeCPUMicrocode           EventType = 0x09
	TypePlatformConfigFlags    EventType = 0x0A
	TypeTableOfDevices         EventType = 0x0B
	TypeCompactHash            EventType = 0x0C
	TypeIPL                    EventType = 0x0D
	TypeIPLPartitionData       EventType = 0x0E
	TypeNonhostCode            EventType = 0x0F
	TypeNonhostConfig          EventType = 0x10
	TypeNonhostInfo            EventType = 0x11
	TypeOmitBootDeviceEvents   EventType = 0x12
	TypePostCode2              EventType = 0x13
	TypeEFIVariableConfig      EventType = 0x80000001
	TypeEFIVariableBoot        EventType = 0x80000002
	TypeEFIBootServicesApp     EventType = 0x80000003
	TypeEFIBootServicesDriver  EventType = 0x80000004
	TypeEFIRuntimeDriver       EventType = 0x80000005
	TypeEFIGPT                 EventType = 0x80000006
	TypeEFIAction              EventType = 0x80000007
	TypeEFIFirmwareBlob        EventType = 0x80000008
	TypeEFIHandoffTables       EventType = 0x80000009
	TypeEFIFirmwareBlob2       EventType = 0x8000000A
	TypeEFIHandoffTables2      EventType = 0x8000000B
	TypeEFIVariableBoot2       EventType = 0x8000000C
	TypeEFIGPT2                EventType = 0x8000000D
	TypeEFIHCRTM               EventType = 0x80000010
	TypeEFIVariableAuthority   EventType = 0x800000E0
	TypeEFISPDMFirmwareBlob    EventType = 0x800000E1
	TypeEFISPDMFirmwareConfig  EventType = 0x800000E2
	TypeEFISPDMDevicePolicy    EventType = 0x800000E3
	TypeEFISPDMDeviceAuthority EventType = 0x800000E4
)

// Types of a measured launch: Intel's (MLE tables E-5 and E-6; 0x415 to 0x41a as later revisions and SINIT log dumps
// name them), tboot's and the Linux kernel's Secure Launch.
const (
	TypePCRMapping       EventType = 0x401
	TypeHashStart        EventType = 0x402
	TypeCombinedHash     EventType = 0x403
	TypeMLEHash          EventType = 0x404
	TypeBIOSACRegData    EventType = 0x40A
	TypeCPUSCRTMStat     EventType = 0x40B
	TypeLCPControlHash   EventType = 0x40C
	TypeElementsHash     EventType = 0x40D
	TypeSTMHash          EventType = 0x40E
	TypeOsSinitDataCap   EventType = 0x40F
	TypeSINITPubkeyHash  EventType = 0x410
	TypeLCPHash          EventType = 0x411
	TypeLCPDetailsHash   EventType = 0x412
	TypeLCPAuthorities   EventType = 0x413
	TypeNVInfoHash       EventType = 0x414
	TypeColdBootBIOSHash EventType = 0x415
	TypeKMHash           EventType = 0x416
	TypeBPMHash          EventType = 0x417
	TypeKMInfoHash       EventType = 0x418
	TypeBPMInfoHash      EventType = 0x419
	TypeBootPolHash      EventType = 0x41A
	TypeRandomValue      EventType = 0x4FE
	TypeCapValue         EventType = 0x4FF
	TypeTbootMeasurement EventType = 0x501
	TypeSlaunch          EventType = 0x502
	TypeSlaunchStart     EventType = 0x503
	TypeSlaunchEnd       EventType = 0x504
)

// String gives the name that the type's own specification or source gives it: EV_* (PFP), EVTYPE_* (MLE), EVTYPE_TB_* (tboot),
// TXT_EVTYPE_SLAUNCH* (Linux). A type without a name is its number: "EVTYPE_0x4aa" in Intel's range, else "0x00000abc".
func (t EventType) String() string {
	name := t.name()
	switch {
	case name != "":
		return name
	case t.txt():
		return fmt.Sprintf("EVTYPE_0x%03x", uint32(t))
	default:
		return fmt.Sprintf("0x%08x", uint32(t))
	}
}

// ParseEventType reads what [EventType.String] gives, or any number in Go's notation ("0x402").
func ParseEventType(s string) (EventType, error) {
	for _, r := range [][2]EventType{{TypePrebootCert, TypePostCode2}, {TypePCRMapping, TypeSlaunchEnd}, {TypeEFIVariableConfig, TypeEFISPDMDeviceAuthority}} {
		for t := r[0]; t <= r[1]; t++ {
			if t.name() == s && s != "" {
				return t, nil
			}
		}
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "EVTYPE_"), 0, 32)
	if err != nil {
		return 0, fmt.Errorf("unknown event type %q: write a name like %s or a number like 0x402", s, TypeHashStart)
	}

	return EventType(n), nil
}

// txt tells whether t lies in the range that MLE keeps for SINIT's events.
func (t EventType) txt() bool { return t >= TypePCRMapping && t <= TypeCapValue }

// name is the specification's name, or empty.
func (t EventType) name() string {
	if t.txt() || t >= TypeTbootMeasurement && t <= TypeSlaunchEnd {
		return t.launchName()
	}

	return t.firmwareName()
}
