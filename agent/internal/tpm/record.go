package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/google/go-tpm/tpm2"
)

// Record is what the agent remembers of its AKs between its runs. It holds no secret, and its loss costs nothing as long as the TPM was not cleared as well: the keys
// are found again at their handles.
type Record struct {
	// AK is the one in use; nil on a host that was never set up.
	AK *KeyRecord `json:"ak,omitempty"`
	// Pending waits for the end of a rotation.
	Pending *KeyRecord `json:"pending,omitempty"`
	// Retired is still to be removed from its handle.
	Retired *KeyRecord `json:"retired,omitempty"`
	// TLSKey is the Name of the TLS key; empty if there never was one.
	TLSKey hexBytes `json:"tls_key,omitempty"`
}

// KeyRecord says which key an AK is.
type KeyRecord struct {
	Algorithm  KeyAlgorithm   `json:"algorithm"`
	Generation uint32         `json:"generation"`
	Handle     tpm2.TPMHandle `json:"handle"`
	Name       hexBytes       `json:"name"`
	// Kept says that it is at its handle, unless somebody took it away.
	Kept bool `json:"kept,omitempty"`
	// Enrolled says that a credential was activated for it.
	Enrolled bool `json:"enrolled,omitempty"`
	// Certificate is the operator's (DER), empty if none was installed.
	Certificate []byte `json:"certificate,omitempty"`
	// Chain are the certificates (DER) of the authorities above it that were installed with it, its issuer's first.
	Chain [][]byte `json:"chain,omitempty"`
}

// clone returns a copy that shares nothing that changes.
func (r Record) clone() Record {
	for _, key := range []**KeyRecord{&r.AK, &r.Pending, &r.Retired} {
		if *key != nil {
			k := **key
			*key = &k
		}
	}

	return r
}

// equal says whether both remember the same.
func (r Record) equal(other Record) bool {
	return reflect.DeepEqual(r, other)
}

// hexBytes are bytes that people may have to compare.
type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))

	return err
}

// recordFile is the form on disk. The digest tells a damaged file from another TPM: a single changed digit of a Name would look like one.
type recordFile struct {
	Version int             `json:"version"`
	Record  json.RawMessage `json:"record"`
	SHA256  hexBytes        `json:"sha256"`
}

const (
	recordVersion = 1
	maxRecord     = 1 << 20
)

// readRecord reads the record; an absent file gives an empty one. Every other failure is ErrRecord: what can't be read must not be taken for "never set up".
func readRecord(path string) (Record, error) {
	content, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return Record{}, nil
	}

	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}

	var file recordFile
	if err := strictJSON(content, &file); err != nil {
		return Record{}, fmt.Errorf("%w: %s: %w", ErrRecord, path, err)
	}

	if file.Version != recordVersion {
		return Record{}, fmt.Errorf("%w: %s has version %d, this agent knows %d", ErrRecord, path, file.Version, recordVersion)
	}

	var compact bytes.Buffer
	if err := json.Compact(&compact, file.Record); err != nil {
		return Record{}, fmt.Errorf("%w: %s: %w", ErrRecord, path, err)
	}

	if sum := sha256.Sum256(compact.Bytes()); !bytes.Equal(sum[:], file.SHA256) {
		return Record{}, fmt.Errorf("%w: %s is damaged: its digest does not fit", ErrRecord, path)
	}

	var record Record
	if err := strictJSON(file.Record, &record); err != nil {
		return Record{}, fmt.Errorf("%w: %s: %w", ErrRecord, path, err)
	}

	return record, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator's config names the folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	content, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err == nil && len(content) > maxRecord {
		err = fmt.Errorf("%s has more than %d bytes", path, maxRecord)
	}

	return content, err
}

// strictJSON decodes one JSON value with no unknown keys and nothing after it.
func strictJSON(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()

	if err := decoder.Decode(into); err != nil {
		return err
	}

	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the record")
	}

	return nil
}

// writeRecord replaces the record so that a crash leaves the old one or the new one, whole. Without a path nothing is kept. A failure to do so is ErrUnrecorded.
func writeRecord(path string, record Record) (err error) {
	if path == "" {
		return nil
	}

	compact, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("writing the AK's record: %w", err)
	}

	sum := sha256.Sum256(compact)

	content, err := json.MarshalIndent(recordFile{Version: recordVersion, Record: compact, SHA256: sum[:]}, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the AK's record: %w", err)
	}

	err = replace(path, append(content, '\n'))
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}

	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}

	return nil
}

// replace writes beside the file, syncs and renames.
func replace(path string, content []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}

	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()

	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}

	err = os.Rename(temporary.Name(), path)

	return err
}

// syncFolder makes a rename last.
func syncFolder(path string) error {
	folder, err := os.Open(path) // #nosec G304 -- the operator's config names the folder
	if err != nil {
		return err
	}

	return errors.Join(folder.Sync(), folder.Close())
}
