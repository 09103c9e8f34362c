package cmd

import "fmt"

// key prints the API's key, as the config has it or as the first start has made
// it.
func key(c *call) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	k, err := apiKey(cfg)
	if err != nil {
		return err
	}
	if c.json() {
		return writeJSON(c.out, map[string]string{"key": k})
	}
	fmt.Fprintln(c.out, k)
	return nil
}
