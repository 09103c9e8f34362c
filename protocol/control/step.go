package control

// StepError says at which step of its life a child gave up: what a Failed is
// made of.
type StepError struct {
	Step string // as in Failed
	Err  error
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *StepError) Unwrap() error { return e.Err }

// AtStep returns err with its step, nil for nil.
func AtStep(step string, err error) error {
	if err == nil {
		return nil
	}
	return &StepError{step, err}
}
