// Command fastlb is the director and every tool around it: flags, the table of subcommands and exit statuses, no logic.
//
// Each subcommand has a file of its own with one constructor, func newNAME(*env) *cobra.Command, entered in the table of
// main.go. What a subcommand does lives in a package. An error that a subcommand returns is printed after "fastlb: " and
// ends the program with status 1, or with 2 if it was made by usagef; status(n) ends it with n and prints nothing.
package main
