package tpmsim

import (
	"encoding/binary"
	"fmt"
)

// RootLayout names where a host keeps the log of its launch. The zero value means
// where the node's Loader leaves it: TXTHeap, or SecureLaunch for TrenchBoot.
type RootLayout string

// The layouts.
const (
	// TXTHeap is physical memory with one crypto-agile log in the TXT heap, as
	// tboot leaves it with SINITs of today.
	TXTHeap RootLayout = "txt-heap"
	// TXTHeapPerBank is the same with one log a bank in the older format, as tboot
	// leaves it with old SINITs or with force_tpm2_legacy_log=true.
	TXTHeapPerBank RootLayout = "txt-heap-per-bank"
	// SecureLaunch is Linux's directory of that name in securityfs, with the log
	// and the TXT registers. There is no physical memory to read, as on a kernel
	// without /dev/mem.
	SecureLaunch RootLayout = "secure-launch"
	// NoSource is a host where the log can't be found.
	NoSource RootLayout = "no-source"
)

// The files of a root.
const (
	memoryFile      = "dev/mem"
	secureLaunchDir = "sys/kernel/security/slaunch"
	uuidFile        = "sys/class/dmi/id/product_uuid"
	serialFile      = "sys/class/dmi/id/product_serial"
)

// secureLaunchLogSize is the size of the buffer that TrenchBoot's GRUB gives the
// log, all of which Linux shows.
const secureLaunchLogSize = 8 * pageSize

// WriteRoot writes into dir, made if missing, what programs find below / on a host
// that is in the node's present boot: the log of its launch and the TXT registers,
// laid out as told, and the SMBIOS UUID and serial number, which are the node's
// own and last as long as its state. What an earlier call wrote there is replaced.
//
// dev/mem is a file with holes of 4 GiB in which an offset is a physical address,
// sys/kernel/security/slaunch what securityfs has, sys/class/dmi/id/product_uuid and
// product_serial what sysfs has. Without a launch the registers say so, the heap
// holds what firmware leaves there, and there is no slaunch directory.
//
// BUG: there is no binary_bios_measurements, because nothing is measured into PCRs
// 0 to 16.
func (n *Node) WriteRoot(dir string, layout RootLayout) error {
	n.lock()
	defer n.unlock()

	if n.machine == nil {
		return fmt.Errorf("writing a root: %w", n.down)
	}
	if err := n.writeRoot(dir, layout); err != nil {
		return fmt.Errorf("writing a root: %w", err)
	}
	return nil
}

func (n *Node) writeRoot(dir string, layout RootLayout) error {
	files, err := n.rootFiles(layout)
	if err != nil {
		return err
	}
	root, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory

	if err := root.RemoveAll(secureLaunchDir); err != nil {
		return err
	}
	if err := removeFile(root, memoryFile); err != nil {
		return err
	}
	for name, pieces := range files {
		if err := writePieces(root, name, pieces); err != nil {
			return err
		}
	}
	return nil
}

// rootFiles returns the files of a layout.
func (n *Node) rootFiles(layout RootLayout) (map[string][]piece, error) {
	uuid, err := n.dir.systemUUID()
	if err != nil {
		return nil, err
	}
	files := map[string][]piece{
		uuidFile:   whole([]byte(uuid + "\n")),
		serialFile: whole([]byte("simulated-" + uuid[:8] + "\n")),
	}

	if layout == "" {
		layout = n.loader.layout()
	}
	launched := n.records != nil
	switch layout {
	case NoSource:
		return files, nil
	case SecureLaunch:
		if launched {
			addSecureLaunch(files, n.records)
		}
		return files, nil
	case TXTHeap, TXTHeapPerBank:
		heap, err := layout.heap(n.records)
		files[memoryFile] = physicalMemory(registers(launched), heap)
		return files, err
	default:
		return nil, fmt.Errorf("unknown layout %q", layout)
	}
}

// heap returns the TXT heap of a layout that has one.
func (l RootLayout) heap(records []record) ([]byte, error) {
	if records == nil {
		return unusedHeap(), nil
	}
	if l == TXTHeapPerBank {
		return bankHeap(records)
	}
	return agileHeap(records)
}

// physicalMemory returns /dev/mem.
func physicalMemory(registers []register, heap []byte) []piece {
	const spaceSize = 0x10000

	space := make([]byte, spaceSize)
	for _, r := range registers {
		binary.LittleEndian.PutUint64(space[r.offset:], r.value)
	}
	return []piece{{heapBase, heap}, {publicSpace, space}}
}

// addSecureLaunch adds the files of a slaunch directory. The kernel writes a
// register as a C string, with its NUL.
func addSecureLaunch(files map[string][]piece, records []record) {
	log := make([]byte, secureLaunchLogSize)
	copy(log, cryptoAgileLog(activeBanks(), records))
	files[secureLaunchDir+"/eventlog"] = whole(log)

	for _, r := range registers(true) {
		if r.file != "" {
			text := fmt.Sprintf("0x%0*x\n\x00", r.bits/4, r.value)
			files[secureLaunchDir+"/txt/"+r.file] = whole([]byte(text))
		}
	}
}
