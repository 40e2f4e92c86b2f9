package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// examination is what Examine learns on its way.
type examination struct {
	config  Config
	options logs.Options
	// banks are all PCRs of the active banks; nil if the TPM did not tell.
	banks []tpm.Bank
	// pid is the process of the agent that runs on the state folder, 0 if none does.
	pid int
}

// tpm examines the TPM and the keys. One that does not answer must not keep the rest from being told.
func (e *examination) tpm() []Finding {
	device, err := tpm.Open(e.config.TPM.Device)
	if err != nil {
		return []Finding{deviceFailed(e.config.TPM.Device, err)}
	}

	type answer struct {
		findings []Finding
		banks    []tpm.Bank
	}

	answers := make(chan answer, 1)

	// A command that hangs can't be taken back: then this ends with the process.
	go func() {
		auths, _ := e.config.TPM.auths() // what can't be read is told as a problem of the config
		findings, banks := e.inspect(tpm.NewInspector(device, auths))
		_ = device.Close() // nothing was written

		answers <- answer{findings, banks}
	}()

	select {
	case a := <-answers:
		e.banks = a.banks

		return a.findings
	case <-time.After(answerWithin):
		return []Finding{broken("tpm", "look who else uses the TPM (fuser "+e.config.TPM.Device+"); if nobody does, power the machine off and on",
			"%s does not answer within %v", e.config.TPM.Device, answerWithin)}
	}
}

// inspect returns what it found, and all PCRs.
func (e *examination) inspect(inspector *tpm.Inspector) (findings []Finding, banks []tpm.Bank) {
	properties, err := inspector.Properties()
	if err != nil {
		return []Finding{broken("tpm", "is this a TPM 2.0? Look for tpm in the kernel's log (journalctl -k)", "%s was opened, but: %v", e.config.TPM.Device, err)}, nil
	}

	findings = []Finding{e.deviceFound(properties), banksFound(properties.Banks)}

	settings, err := inspector.Settings()
	if err != nil {
		return append(findings, broken("hierarchies", "", "%v", err)), nil
	}

	findings = append(findings, e.hierarchies(settings)...)
	findings = append(findings, e.ek(inspector)...)
	findings = append(findings, e.ak(inspector, settings))

	// What is told of the launch is told of the first bank.
	slices.SortStableFunc(properties.Banks, func(a, b tpm2.TPMAlgID) int { return cmp.Compare(rank(a), rank(b)) })

	for _, bank := range properties.Banks {
		all := tpm.Selection{Bank: bank}
		for pcr := range tpm.PCRs {
			all.Add(pcr)
		}

		values, err := inspector.PCRs(all)
		if err != nil {
			return append(findings, broken("banks", "", "%v", err)), nil
		}

		banks = append(banks, values...)
	}

	return findings, banks
}

// rank puts the bank first that verifiers ask for.
func rank(bank tpm2.TPMAlgID) int {
	if bank == tpm2.TPMAlgSHA256 {
		return 0
	}

	return 1
}

// deviceFailed says why the TPM can't be opened.
func deviceFailed(path string, err error) Finding {
	switch {
	case errors.Is(err, fs.ErrPermission):
		why, advice := deniedAt(path)

		return broken("tpm", advice, "%s may not be opened: %s", path, why)
	case errors.Is(err, syscall.EBUSY):
		return broken("tpm", "name the resource manager, /dev/tpmrm0, as tpm.device: it has room for several", "%s is in use by somebody else", path)
	case errors.Is(err, fs.ErrNotExist):
		return broken("tpm", "switch the TPM 2.0 on in the firmware setup (on Intel also called PTT), and look for tpm in the kernel's log (journalctl -k)", "%v", err)
	default:
		return broken("tpm", "write /dev/tpmrm0 as tpm.device", "%v", err)
	}
}

// deniedAt says who may open a file, and what the present user lacks.
func deniedAt(path string) (why, advice string) {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error(), "let the agent's user look into " + filepath.Dir(path)
	}

	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "the system does not say whose it is", ""
	}

	me, group := userName(strconv.Itoa(os.Geteuid())), groupName(strconv.FormatUint(uint64(owner.Gid), 10))
	why = fmt.Sprintf("it belongs to %s:%s with mode %04o, and this is %s", userName(strconv.FormatUint(uint64(owner.Uid), 10)), group, info.Mode().Perm(), me)

	if info.Mode().Perm()&0o060 == 0o060 {
		return why + ", who is not in group " + group, fmt.Sprintf("usermod --append --groups %s %s, then start the agent again", group, me)
	}

	return why, "let its group open it with a udev rule: KERNEL==\"tpmrm[0-9]*\", GROUP=\"tss\", MODE=\"0660\""
}

func userName(id string) string {
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}

	return id
}

func groupName(id string) string {
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}

	return id
}

// deviceFound tells which TPM it is, and whether others can use it as well.
func (e *examination) deviceFound(properties *tpm.Properties) Finding {
	path := e.config.TPM.Device
	about := fmt.Sprintf("%s answers: %s", path, strings.TrimSpace(properties.Manufacturer+" "+properties.Vendor))

	if regexp.MustCompile(`^/dev/tpm[0-9]+$`).MatchString(path) {
		return warned("tpm", "write "+strings.Replace(path, "/dev/tpm", "/dev/tpmrm", 1)+" as tpm.device",
			"%s; this is the TPM without the kernel's resource manager: nobody else can use it meanwhile", about)
	}

	return fine("tpm", "%s", about)
}

func banksFound(banks []tpm2.TPMAlgID) Finding {
	var names []string
	for _, bank := range banks {
		names = append(names, tpm.BankName(bank))
	}

	if !slices.Contains(banks, tpm2.TPMAlgSHA256) {
		return broken("banks", "activate the SHA-256 bank in the firmware setup: it is what verifiers ask for", "active PCR banks: %s", strings.Join(names, ", "))
	}

	return fine("banks", "active PCR banks: %s", strings.Join(names, ", "))
}

// hierarchies tells what an agent can't do because of how the TPM is set up.
func (e *examination) hierarchies(s tpm.Settings) []Finding {
	var findings []Finding

	if s.EndorsementDisabled {
		findings = append(findings, broken("hierarchies", "switch the endorsement hierarchy on in the firmware setup, and look who switches it off at boot",
			"the endorsement hierarchy is switched off: there is no attestation key"))
	}

	if s.EndorsementAuthSet && e.config.TPM.EndorsementAuthFile == "" {
		findings = append(findings, broken("hierarchies", "name a file with that value as tpm.endorsement_auth_file",
			"the endorsement hierarchy has an authorisation value: without it no attestation key can be made"))
	}

	if s.StorageDisabled || s.OwnerAuthSet && e.config.TPM.OwnerAuthFile == "" {
		findings = append(findings, warned("hierarchies", "name a file with the owner's value as tpm.owner_auth_file",
			"the owner hierarchy is switched off or has an authorisation value: the attestation key can't be kept in the TPM, and each quote costs more"))
	}

	if s.InLockout {
		findings = append(findings, warned("hierarchies", "find out who tries values: the agent uses none that counts",
			"the TPM is in lockout: too many wrong authorisation values were tried"))
	}

	if len(findings) == 0 {
		findings = append(findings, fine("hierarchies", "the endorsement and owner hierarchies can be used"))
	}

	return findings
}

// ek tells of the EK's certificates, by which a verifier knows that the TPM is genuine.
func (e *examination) ek(inspector *tpm.Inspector) []Finding {
	certificates, problems, err := inspector.EKCertificates()
	if err != nil {
		return []Finding{broken("ek", "", "%v", err)}
	}

	if file := e.config.TPM.EKCertificate; file != "" {
		certificate, err := tpm.ReadCertificateFile(file)
		if err != nil {
			return []Finding{broken("ek", "write a file with the EK's certificate as tpm.ek_certificate, or leave it out", "%v", err)}
		}

		certificates[file] = certificate
	}

	var findings []Finding

	for _, source := range slices.Sorted(maps.Keys(certificates)) {
		findings = append(findings, fine("ek", "certificate in %s, issued by %q", source, certificates[source].Issuer))
	}

	for _, problem := range problems {
		findings = append(findings, warned("ek", "ask the TPM's maker for its EK certificate, and name the file as tpm.ek_certificate", "%s", problem))
	}

	if len(findings) == 0 {
		return []Finding{warned("ek", "enrol the node by an inventory, or ask the TPM's maker for the certificate and name its file as tpm.ek_certificate",
			"the TPM holds no EK certificate: a verifier can't tell by itself that it is genuine")}
	}

	return findings
}

// ak tells whether the key on record is at its place.
func (e *examination) ak(inspector *tpm.Inspector, s tpm.Settings) Finding {
	file := e.config.recordFile()
	record, err := tpm.ReadRecord(file)

	switch {
	case errors.Is(err, fs.ErrPermission):
		return warned("ak", "run this as root or as the agent's user", "%s may not be read", file)
	case err != nil:
		return broken("ak", "restore the file, or run trustpool-agent identity reprovision", "%v", err)
	case record.AK == nil:
		return fine("ak", "none yet: the agent makes it when it is started for the first time")
	}

	at, err := inspector.At(*record.AK)
	name := fmt.Sprintf("AK %d, %s, %x", record.AK.Generation, record.AK.Algorithm, []byte(record.AK.Name))

	switch {
	case err != nil:
		return broken("ak", "", "%s: %v", name, err)
	case at == tpm.Expected && !record.AK.Enrolled:
		return warned("ak", "enrol it: trustpoolctl enroll", "%s is at 0x%08x and was never enrolled", name, uint32(record.AK.Handle))
	case at == tpm.Expected:
		return fine("ak", "%s is at 0x%08x", name, uint32(record.AK.Handle))
	case at == tpm.Foreign:
		return broken("ak", "if the object is somebody else's, choose another tpm.ak.handle; if the TPM or the mainboard was replaced: trustpool-agent identity reprovision",
			"%s is on record, but 0x%08x holds another object", name, uint32(record.AK.Handle))
	case record.AK.Kept:
		return warned("ak", "nothing, if the agent starts: the same TPM gives the same key again, else the agent says AK_INVALIDATED",
			"%s is gone from 0x%08x: was the TPM cleared or replaced?", name, uint32(record.AK.Handle))
	default:
		advice := "make room in the TPM's NV memory (tpm2_getcap handles-persistent), then start the agent again"
		if s.OwnerAuthSet {
			advice = "name a file with the owner's authorisation value as tpm.owner_auth_file, then start the agent again"
		}

		return warned("ak", advice, "%s could not be kept at 0x%08x: each quote costs more", name, uint32(record.AK.Handle))
	}
}

// examineClock tells whether certificates can be judged by this clock. There is one thing that surely was before now: this program was built.
func examineClock(now time.Time) Finding {
	var kernel unix.Timex

	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil && now.Before(info.ModTime().Add(-24*time.Hour)) {
			return broken("clock", "set it, and let it be kept right by NTP (timedatectl)",
				"it is %s, but this program is from %s", now.UTC().Format(time.RFC3339), info.ModTime().UTC().Format(time.RFC3339))
		}
	}

	// adjtimex(2): with no modes it only reads.
	if state, err := unix.Adjtimex(&kernel); err == nil && (state == unix.TIME_ERROR || kernel.Status&unix.STA_UNSYNC != 0) {
		return warned("clock", "let it be kept right by NTP (timedatectl set-ntp true)", "it is %s, and nothing keeps it right", now.UTC().Format(time.RFC3339))
	}

	return fine("clock", "it is %s, kept right", now.UTC().Format(time.RFC3339))
}
