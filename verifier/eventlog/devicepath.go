package eventlog

import (
	"fmt"
	"strings"
)

// Nodes of an EFI device path that tell a person something (UEFI 2.10, 10.3), type << 8 | subtype.
const (
	nodePCI      = 0x0101
	nodeACPI     = 0x0201
	nodeDrive    = 0x0401
	nodeFile     = 0x0404
	nodeFVFile   = 0x0406
	nodeFV       = 0x0407
	nodeEnd      = 0x7F
	pnpPCIRoot   = 0x0A0341D0
	pnpPCIeRoot  = 0x0A0841D0
	maxPathNodes = maxItems
)

// devicePath says in words where an image came from. Nodes without a use for people are shown as type and subtype.
func devicePath(path []byte) string {
	var nodes []string
	for d := (decoder{rest: path}); len(d.rest) > 0 && len(nodes) < maxPathNodes; {
		kind, sub, size := d.u8(), d.u8(), d.u16()
		body := d.take(uint64(size) - 4)
		if !d.ok() || size < 4 {
			return "unreadable path " + hexa(path)
		}
		if kind == nodeEnd {
			break
		}
		nodes = append(nodes, pathNode(uint16(kind)<<8|uint16(sub), body))
	}
	if len(nodes) == 0 {
		return "no path"
	}

	return strings.Join(nodes, "/")
}

// pathNode says what one node means.
func pathNode(kind uint16, body []byte) string {
	d := decoder{rest: body}
	switch kind {
	case nodePCI:
		function, device := d.u8(), d.u8()

		return fmt.Sprintf("Pci(%d,%d)", device, function)
	case nodeACPI:
		hid, uid := d.u32(), d.u32()
		if hid == pnpPCIRoot || hid == pnpPCIeRoot {
			return fmt.Sprintf("PciRoot(%d)", uid)
		}

		return fmt.Sprintf("Acpi(0x%08x,%d)", hid, uid)
	case nodeDrive:
		number := d.u32()
		d.take(16) // first block and size
		if id := d.guid(); d.ok() {
			return fmt.Sprintf("HD(%d,%s)", number, id)
		}
	case nodeFile:
		return anyText(body)
	case nodeFVFile:
		if id := d.guid(); d.ok() {
			return "FvFile(" + id + ")"
		}
	case nodeFV:
		if id := d.guid(); d.ok() {
			return "Fv(" + id + ")"
		}
	}

	return fmt.Sprintf("Path(%d,%d)", kind>>8, kind&0xFF)
}
