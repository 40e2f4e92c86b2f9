package logs

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/trustpool/trustpool/agent/internal/txt"
)

// Host is what the host says of itself beside its logs. Nothing signs it: it is for people, and for a suggestion which machine this may be.
type Host struct {
	// Registers are the TXT registers. Nil: there are none, or they can't be read; RegistersDetail says which.
	Registers       *txt.Registers
	RegistersDetail string
	// NoRegisters says that the platform has no TXT registers, which is more than that nobody could read them.
	NoRegisters bool
	// UUID is the SMBIOS system UUID, in small letters with dashes, Serial the system's serial number: printable ASCII, at most 128 bytes. Empty if they are not
	// known; only root may read them.
	UUID, Serial string
	// Manufacturer and Product are the system's (SMBIOS 3.7, 7.2), ChassisSerial is the chassis's (7.4), in the form of Serial.
	Manufacturer, Product, ChassisSerial string
}

// readHost reads what root may read below a root directory.
func readHost(root string) Host {
	var host Host

	registers, err := txt.ReadSecureLaunchRegisters(filepath.Join(root, "sys/kernel/security/slaunch/txt"))
	if err != nil {
		registers, err = heap{root}.registers()
	}

	switch {
	case err == nil:
		host.Registers = &registers
	case errors.Is(err, txt.ErrNoRegisters):
		host.NoRegisters, host.RegistersDetail = true, err.Error()
	default:
		_, host.RegistersDetail = heap{root}.outcome(err)
	}

	dmi := filepath.Join(root, "sys/class/dmi/id")
	if uuid, err := readShort(filepath.Join(dmi, "product_uuid")); err == nil && isUUID(uuid) {
		host.UUID = strings.ToLower(uuid)
	}

	for file, text := range map[string]*string{
		"product_serial": &host.Serial, "sys_vendor": &host.Manufacturer, "product_name": &host.Product, "chassis_serial": &host.ChassisSerial,
	} {
		if read, err := readShort(filepath.Join(dmi, file)); err == nil && isSerial(read) {
			*text = read
		}
	}

	return host
}

func (h heap) registers() (txt.Registers, error) {
	memory, err := txt.OpenMemory(h.path())
	if err != nil {
		return txt.Registers{}, err
	}
	defer func() { _ = memory.Close() }() // read only: nothing to lose

	return txt.ReadRegisters(memory)
}

func isUUID(s string) bool {
	return regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`).MatchString(s)
}

// isSerial takes what a manufacturer may write (SMBIOS 3.7, 7.2.4: a string of printable characters).
func isSerial(s string) bool {
	const most = 128

	return len(s) <= most && isPrintable(s)
}

// isPrintable tells whether s is printable ASCII alone.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
