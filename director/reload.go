package director

// Reloaded says what a reload did.
type Reloaded struct {
	Changes  []string `json:"changes"`            // in the order they were made; empty: the file says what already was
	Warnings []string `json:"warnings,omitempty"` // about the file, and what takes effect only at the next start
}
