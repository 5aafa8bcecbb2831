"""What goes wrong around a store: crashes, disks, signals, other processes, networks. Each harness has a negative
control: a build that is broken on purpose, which must turn it red."""
