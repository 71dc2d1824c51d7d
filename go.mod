module github.com/fastlb/fastlb

go 1.26
