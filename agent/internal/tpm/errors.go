package tpm

import "errors"

// What a caller of Quote may have to tell apart. Other errors are the TPM's own (tpm2.TPMRC) or a programming mistake.
var (
	// ErrAbsent says that the TPM can't be reached now; Run keeps trying.
	ErrAbsent = errors.New("TPM not reachable")
	// ErrQueueFull says that too many callers wait already.
	ErrQueueFull = errors.New("too many callers wait for the TPM")
	// ErrTooLate says that so many are before a call that its deadline can't be met.
	ErrTooLate = errors.New("deadline too short for the queue")
	// ErrBusy says that the TPM kept asking for a retry.
	ErrBusy = errors.New("TPM busy")
	// ErrPCRRace says that PCRs kept changing between reading and signing.
	ErrPCRRace = errors.New("PCRs keep changing")
	// ErrBankInactive says that a selected bank is not allocated in this TPM.
	ErrBankInactive = errors.New("PCR bank not active")
	// ErrNonceTooLong says that the TPM refuses so many bytes of extraData.
	ErrNonceTooLong = errors.New("nonce too long for this TPM")
	// ErrHandleTaken says that the AK's handle holds somebody else's object.
	ErrHandleTaken = errors.New("AK handle holds another object")
	// ErrHierarchyDisabled says that the endorsement hierarchy is switched off.
	ErrHierarchyDisabled = errors.New("endorsement hierarchy disabled")
	// ErrReplaced says that this TPM does not have the AK on record: it is another TPM, or has another endorsement seed.
	ErrReplaced = errors.New("this TPM does not have the AK on record")
	// ErrForeignKey says that the key which signed is not the AK.
	ErrForeignKey = errors.New("another key signed than the AK")
	// ErrAuthRequired says that the endorsement hierarchy has an authorisation value that the agent was not given.
	ErrAuthRequired = errors.New("endorsement hierarchy needs its authorisation value")
	// ErrRecord says that the record of the AK can't be read.
	ErrRecord = errors.New("record of the AK not readable")
	// ErrUnrecorded says that the record of the AK can't be written: nothing was begun that relies on it.
	ErrUnrecorded = errors.New("record of the AK not writable")
	// ErrUnknownAK says that no AK has this Name.
	ErrUnknownAK = errors.New("no AK with this Name")
)
