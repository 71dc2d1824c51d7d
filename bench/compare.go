package bench

import (
	"encoding/json"
	"fmt"
	"os"
)

// Load reads a report that was written as JSON.
func Load(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is no report of fastlb bench: %w", file, err)
	}
	return r, nil
}

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// Find returns the result of the same combination, or nil.
func (r *Report) Find(c *Result) *Result {
	for i := range r.Results {
		if r.Results[i].String() == c.String() && r.Results[i].Workers == c.Workers {
			return &r.Results[i]
		}
	}
	return nil
}
