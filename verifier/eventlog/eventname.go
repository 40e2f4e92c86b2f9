package eventlog

// launchName names the events of a measured launch.
func (t EventType) launchName() string {
	switch t {
	case TypePCRMapping:
		return "EVTYPE_PCR_MAPPING"
	case TypeHashStart:
		return "EVTYPE_HASH_START"
	case TypeCombinedHash:
		return "EVTYPE_COMBINED_HASH"
	case TypeMLEHash:
		return "EVTYPE_MLE_HASH"
	case TypeBIOSACRegData:
		return "EVTYPE_BIOSAC_REG_DATA"
	case TypeCPUSCRTMStat:
		return "EVTYPE_CPU_SCRTM_STAT"
	case TypeLCPControlHash:
		return "EVTYPE_LCP_CONTROL_HASH"
	case TypeElementsHash:
		return "EVTYPE_ELEMENTS_HASH"
	case TypeSTMHash:
		return "EVTYPE_STM_HASH"
	case TypeOsSinitDataCap:
		return "EVTYPE_OSSINITDATA_CAP_HASH"
	case TypeSINITPubkeyHash:
		return "EVTYPE_SINIT_PUBKEY_HASH"
	case TypeLCPHash:
		return "EVTYPE_LCP_HASH"
	case TypeLCPDetailsHash:
		return "EVTYPE_LCP_DETAILS_HASH"
	case TypeLCPAuthorities:
		return "EVTYPE_LCP_AUTHORITIES_HASH"
	case TypeNVInfoHash:
		return "EVTYPE_NV_INFO_HASH"
	case TypeColdBootBIOSHash:
		return "EVTYPE_COLD_BOOT_BIOS_HASH"
	case TypeKMHash:
		return "EVTYPE_KM_HASH"
	case TypeBPMHash:
		return "EVTYPE_BPM_HASH"
	case TypeKMInfoHash:
		return "EVTYPE_KM_INFO_HASH"
	case TypeBPMInfoHash:
		return "EVTYPE_BPM_INFO_HASH"
	case TypeBootPolHash:
		return "EVTYPE_BOOT_POL_HASH"
	case TypeRandomValue:
		return "EVTYPE_RANDOM_VALUE"
	case TypeCapValue:
		return "EVTYPE_CAP_VALUE"
	case TypeTbootMeasurement:
		return "EVTYPE_TB_MEASUREMENT"
	case TypeSlaunch:
		return "TXT_EVTYPE_SLAUNCH"
	case TypeSlaunchStart:
		return "TXT_EVTYPE_SLAUNCH_START"
	case TypeSlaunchEnd:
		return "TXT_EVTYPE_SLAUNCH_END"
	default:
		return ""
	}
}

// firmwareName names the events of firmware and boot loaders.
func (t EventType) firmwareName() string {
	if t >= TypeEFIVariableConfig {
		return t.efiName()
	}
	switch t {
	case TypePrebootCert:
		return "EV_PREBOOT_CERT"
	case TypePostCode:
		return "EV_POST_CODE"
	case TypeUnused:
		return "EV_UNUSED"
	case TypeNoAction:
		return "EV_NO_ACTION"
	case TypeSeparator:
		return "EV_SEPARATOR"
	case TypeAction:
		return "EV_ACTION"
	case TypeEventTag:
		return "EV_EVENT_TAG"
	case TypeSCRTMContents:
		return "EV_S_CRTM_CONTENTS"
	case TypeSCRTMVersion:
		return "EV_S_CRTM_VERSION"
	case TypeCPUMicrocode:
		return "EV_CPU_MICROCODE"
	case TypePlatformConfigFlags:
		return "EV_PLATFORM_CONFIG_FLAGS"
	case TypeTableOfDevices:
		return "EV_TABLE_OF_DEVICES"
	case TypeCompactHash:
		return "EV_COMPACT_HASH"
	case TypeIPL:
		return "EV_IPL"
	case TypeIPLPartitionData:
		return "EV_IPL_PARTITION_DATA"
	case TypeNonhostCode:
		return "EV_NONHOST_CODE"
	case TypeNonhostConfig:
		return "EV_NONHOST_CONFIG"
	case TypeNonhostInfo:
		return "EV_NONHOST_INFO"
	case TypeOmitBootDeviceEvents:
		return "EV_OMIT_BOOT_DEVICE_EVENTS"
	case TypePostCode2:
		return "EV_POST_CODE2"
	default:
		return ""
	}
}

// efiName names the events that UEFI firmware measures.
func (t EventType) efiName() string {
	switch t {
	case TypeEFIVariableConfig:
		return "EV_EFI_VARIABLE_DRIVER_CONFIG"
	case TypeEFIVariableBoot:
		return "EV_EFI_VARIABLE_BOOT"
	case TypeEFIBootServicesApp:
		return "EV_EFI_BOOT_SERVICES_APPLICATION"
	case TypeEFIBootServicesDriver:
		return "EV_EFI_BOOT_SERVICES_DRIVER"
	case TypeEFIRuntimeDriver:
		return "EV_EFI_RUNTIME_SERVICES_DRIVER"
	case TypeEFIGPT:
		return "EV_EFI_GPT_EVENT"
	case TypeEFIAction:
		return "EV_EFI_ACTION"
	case TypeEFIFirmwareBlob:
		return "EV_EFI_PLATFORM_FIRMWARE_BLOB"
	case TypeEFIHandoffTables:
		return "EV_EFI_HANDOFF_TABLES"
	case TypeEFIFirmwareBlob2:
		return "EV_EFI_PLATFORM_FIRMWARE_BLOB2"
	case TypeEFIHandoffTables2:
		return "EV_EFI_HANDOFF_TABLES2"
	case TypeEFIVariableBoot2:
		return "EV_EFI_VARIABLE_BOOT2"
	case TypeEFIGPT2:
		return "EV_EFI_GPT_EVENT2"
	case TypeEFIHCRTM:
		return "EV_EFI_HCRTM_EVENT"
	case TypeEFIVariableAuthority:
		return "EV_EFI_VARIABLE_AUTHORITY"
	case TypeEFISPDMFirmwareBlob:
		return "EV_EFI_SPDM_FIRMWARE_BLOB"
	case TypeEFISPDMFirmwareConfig:
		return "EV_EFI_SPDM_FIRMWARE_CONFIG"
	case TypeEFISPDMDevicePolicy:
		return "EV_EFI_SPDM_DEVICE_POLICY"
	case TypeEFISPDMDeviceAuthority:
		return "EV_EFI_SPDM_DEVICE_AUTHORITY"
	default:
		return ""
	}
}
