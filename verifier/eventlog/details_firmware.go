package eventlog

import (
	"bytes"
	"fmt"
)

// Tags of EV_EVENT_TAG that Linux' EFI stub uses (drivers/firmware/efi/libstub/efistub.h).
const (
	tagInitrd      = 0x8F3B22EC
	tagLoadOptions = 0x8F3B22ED
)

// decodeNoAction decodes the events that only inform (PFP 9.4.5).
func (e *Event) decodeNoAction() []Detail {
	if locality, ok := e.startupLocality(); ok {
		return []Detail{{"locality of TPM2_Startup", fmt.Sprint(locality)}}
	}
	const reference = "SP800-155 Event\x00"
	if d := (decoder{rest: e.Data}); bytes.Equal(d.take(uint64(len(reference))), []byte(reference)) {
		vendor, manifest := d.u32(), d.guid()

		return when(d.ok(), Detail{"reference manifest", manifest}, Detail{"vendor", fmt.Sprint(vendor)})
	}

	return nil
}

// decodeSeparator decodes EV_SEPARATOR: a number that tells success from failure (PFP 3.3.2.2), or text.
func decodeSeparator(data []byte) []Detail {
	d := decoder{rest: data}
	v := d.u32()
	switch {
	case !d.ok() || len(d.rest) > 0:
		return nil
	case v == 0 || v == 0xFFFFFFFF:
		return []Detail{{"separator", "end of the firmware's measurements"}}
	case v == 1:
		return []Detail{{"separator", "the firmware reports an error"}}
	default:
		return nil
	}
}

// decodeTag decodes TCG_PCClientTaggedEvent (PFP 9.4.2.1): number, size, data.
func decodeTag(data []byte) []Detail {
	d := decoder{rest: data}
	tag := d.u32()
	body := d.take(uint64(d.u32()))
	if !d.ok() {
		return nil
	}
	name := fmt.Sprintf("0x%08x", tag)
	switch tag {
	case tagInitrd:
		name = "Linux initrd"
	case tagLoadOptions:
		name = "Linux load options (kernel command line)"
	}
	details := []Detail{{"tag", name}}
	if s, ok := text(body); ok {
		return append(details, Detail{"text", s})
	}

	return append(details, Detail{"data", hexa(body)})
}

// decodeIPL decodes what GRUB puts before its events' text, with a colon since 2.04, and else leaves EV_IPL to be shown as text.
func decodeIPL(data []byte) []Detail {
	for _, word := range [][2]string{
		{"kernel_cmdline", "kernel command line"},
		{"grub_kernel_cmdline", "kernel command line"},
		{"module_cmdline", "module command line"},
		{"grub_cmd", "GRUB command"},
	} {
		rest, ok := bytes.CutPrefix(data, []byte(word[0]))
		if !ok {
			continue
		}
		if rest, ok = bytes.CutPrefix(bytes.TrimPrefix(rest, []byte(":")), []byte(" ")); ok {
			s, ok := text(rest)

			return when(ok, Detail{word[1], s})
		}
	}

	return nil
}

// decodeEFI decodes the events of UEFI firmware (PFP 9.2.3 to 9.2.7).
func (e *Event) decodeEFI() []Detail {
	d := decoder{rest: e.Data}
	switch e.Type {
	case TypeEFIVariableConfig, TypeEFIVariableBoot, TypeEFIVariableBoot2, TypeEFIVariableAuthority:
		return decodeVariable(e.Type, e.Data)
	case TypeEFIBootServicesApp, TypeEFIBootServicesDriver, TypeEFIRuntimeDriver:
		return d.image()
	case TypeEFIGPT, TypeEFIGPT2:
		return d.gpt()
	case TypeEFIFirmwareBlob:
		return when(len(e.Data) == 16, Detail{"firmware", d.region()})
	case TypeEFIFirmwareBlob2:
		name, region := d.take(uint64(d.u8())), d.region()

		return when(d.ok() && len(d.rest) == 0, Detail{"firmware", region}, Detail{"name", anyText(name)})
	case TypeEFIHandoffTables:
		return d.tables()
	case TypeEFIHandoffTables2:
		name := d.take(uint64(d.u8()))

		return append(when(d.ok(), Detail{"name", anyText(name)}), d.tables()...)
	default:
		return nil
	}
}

// region takes a 64-bit address and a length.
func (d *decoder) region() string {
	base, size := d.u64(), d.u64()

	return fmt.Sprintf("%d bytes at 0x%x", size, base)
}

// tables takes UEFI_HANDOFF_TABLE_POINTERS: a count, then GUID and address of each table.
func (d *decoder) tables() []Detail {
	n := d.u64()
	if !d.ok() || n > maxItems || uint64(len(d.rest)) != 24*n {
		return nil
	}
	var all []Detail
	for range n {
		all = append(all, Detail{"table", d.guid()})
		d.u64()
	}

	return all
}

// image takes UEFI_IMAGE_LOAD_EVENT (PFP 9.2.3). Only the device path tells a person what was loaded. shim leaves bytes behind it.
func (d *decoder) image() []Detail {
	d.u64() // where it was loaded
	size := d.u64()
	d.u64() // where it was linked for
	path := d.take(d.u64())

	return when(d.ok(), Detail{"image", devicePath(path)}, Detail{"size", fmt.Sprint(size)})
}

// gpt takes UEFI_GPT_DATA (PFP 9.2.5): the partition table's header (UEFI 2.10, table 5.5), a count, and the used entries.
func (d *decoder) gpt() []Detail {
	const header, entry = 92, 128
	head := d.take(header)
	n := d.u64()
	if !d.ok() || n > 1024 || uint64(len(d.rest)) != entry*n {
		return nil
	}
	all := []Detail{{"disk", guid(head[56:])}, {"partitions", fmt.Sprint(n)}}
	for range min(n, maxItems) {
		p := d.take(entry)
		name, _ := text(p[56:])
		all = append(all, Detail{"partition", guid(p[16:]) + " " + choose(name == "", `""`, name)})
	}

	return all
}

// anyText shows data as text if it is, else in hex.
func anyText(data []byte) string {
	if s, ok := text(data); ok {
		return s
	}

	return hexa(data)
}
