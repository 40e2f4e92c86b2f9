package logs

// Source is a File.
type Source = File

// NewStore returns a store of these files alone.
func NewStore(files []File) *Store { return New(Options{Files: files}) }
