package eventlog

import "strings"

// Detail is one thing an event's data says, in words for people.
type Detail struct {
	Name  string // lower case, constant: "SINIT hash", "variable"
	Value string // numbers plain, everything else of the log's own words quoted: safe for a terminal
}

// Details decodes what the event's data says, for people. Data that does not have the shape its type demands is shown as text or in hex. Nothing here
// is proven: ask [Event.CheckData] whether the digest vouches for the data.
func (e *Event) Details() []Detail {
	if d := e.decode(); d != nil {
		return d
	}
	if len(e.Data) == 0 {
		return nil
	}
	if s, ok := text(e.Data); ok {
		return []Detail{{"text", s}}
	}

	return []Detail{{"data", hexa(e.Data)}}
}

// Describe says in one line what the event is about: what its type stands for and its details. Safe for a terminal.
func (e *Event) Describe() string {
	var parts []string
	for _, d := range e.Details() {
		parts = append(parts, d.Name+" "+d.Value)
	}
	details := strings.Join(parts, ", ")
	switch meaning := e.Type.meaning(); {
	case meaning == "" && details == "":
		return e.Type.String()
	case meaning == "":
		return details
	case details == "":
		return meaning
	default:
		return meaning + ": " + details
	}
}

// decode returns nil where the data does not have the type's shape.
func (e *Event) decode() []Detail {
	if e.Type >= TypeEFIVariableConfig {
		return e.decodeEFI()
	}
	if e.Type >= TypePCRMapping {
		return e.decodeLaunch()
	}

	switch e.Type {
	case TypeNoAction:
		return e.decodeNoAction()
	case TypeSeparator:
		return decodeSeparator(e.Data)
	case TypeEventTag:
		return decodeTag(e.Data)
	case TypeIPL:
		return decodeIPL(e.Data)
	default:
		return nil
	}
}

// meaning says what a type stands for, or nothing where its name does.
func (t EventType) meaning() string {
	switch t {
	case TypePCRMapping:
		return "how SINIT maps its measurements to PCRs"
	case TypeHashStart:
		return "start of the measured launch"
	case TypeMLEHash:
		return "measured launch environment (tboot or kernel)"
	case TypeBIOSACRegData:
		return "registration of the BIOS ACM"
	case TypeCPUSCRTMStat:
		return "static root of trust"
	case TypeLCPControlHash:
		return "launch control policy"
	case TypeSTMHash:
		return "SMI transfer monitor"
	case TypeOsSinitDataCap:
		return "what the launch was asked for"
	case TypeSINITPubkeyHash:
		return "key that signed SINIT"
	case TypeLCPDetailsHash:
		return "launch control policy, what matched"
	case TypeLCPAuthorities:
		return "launch control policy, who signed it"
	case TypeNVInfoHash:
		return "TPM indices of the launch control policy"
	case TypeColdBootBIOSHash:
		return "BIOS of the cold boot"
	case TypeKMHash, TypeKMInfoHash:
		return "Boot Guard key manifest"
	case TypeBPMHash, TypeBPMInfoHash:
		return "Boot Guard policy manifest"
	case TypeBootPolHash:
		return "Boot Guard policy"
	case TypeRandomValue:
		return "random value: nothing to compare"
	case TypeCapValue:
		return "PCR was capped: it vouches for nothing from here"
	case TypeTbootMeasurement:
		return "measured by tboot"
	case TypeSlaunch:
		return "measured by Secure Launch"
	case TypeSlaunchStart, TypeSlaunchEnd:
		return "marker of Secure Launch"
	default:
		return ""
	}
}
