package eventlog

import "encoding/binary"

// Bytes encodes the log: Parse, then Bytes gives the parsed bytes back.
func (l *Log) Bytes() []byte { return l.AppendTo(nil) }

// AppendTo appends what [Log.Bytes] gives to b.
func (l *Log) AppendTo(b []byte) []byte {
	if l.file == nil {
		return b
	}
	switch l.Format {
	case FormatCryptoAgile:
		b = appendHeader(b, l.specID())
	case FormatTXT:
		b = appendHeader(b, l.file.descriptor())
	case FormatSHA1, FormatUnknown:
	}
	for i := range l.Events {
		b = l.Events[i].appendTo(b)
	}

	return b
}

// specID encodes TCG_EfiSpecIDEvent (PFP 9.4.5.1).
func (l *Log) specID() []byte {
	b := append([]byte(sigCryptoAgile), 0, 0, 0, 0, l.Spec.Minor, l.Spec.Major, l.Spec.Errata, l.Spec.UintnSize)
	binary.LittleEndian.PutUint32(b[signatureSize:], l.Spec.PlatformClass)
	b = put32(b, l.file.n)
	for _, a := range l.file.algs[:l.file.n] {
		b = binary.LittleEndian.AppendUint16(b, uint16(a.id))
		b = binary.LittleEndian.AppendUint16(b, uint16(a.size)) //nolint:gosec // at most maxDigest
	}
	b = append(b, byte(len(l.Spec.VendorInfo))) //nolint:gosec // Parse took the length from one byte

	return append(b, l.Spec.VendorInfo...)
}

// descriptor encodes TCG_LOG_DESCRIPTOR (MLE appendix E).
func (f *file) descriptor() []byte {
	id := 0
	for i, a := range txtAlgs() {
		if a == f.algs[0].id {
			id = i + 1
		}
	}
	b := put32([]byte(sigTXT), 1)
	b = put32(b, id)

	return put32(b, f.algs[0].size)
}

// appendHeader appends the record that carries a header's data: PCR 0, EV_NO_ACTION, zero digest.
func appendHeader(b, data []byte) []byte {
	b = put32(b, 0)
	b = put32(b, int(TypeNoAction))
	b = append(b, make([]byte, AlgSHA1.Size())...)
	b = put32(b, len(data))

	return append(b, data...)
}

// appendTo appends the record of one event.
func (e *Event) appendTo(b []byte) []byte {
	b = put32(b, int(e.PCR))
	b = put32(b, int(e.Type))
	if e.file != nil && e.file.format == FormatCryptoAgile {
		b = put32(b, len(e.Algs()))
	}
	b = append(b, e.list()...)
	b = put32(b, len(e.Data))

	return append(b, e.Data...)
}

// put32 appends n, which is within 32 bits wherever it comes from here.
func put32(b []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(b, uint32(n)) //nolint:gosec // see above
}
