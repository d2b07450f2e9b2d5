"""One file per wire format. Importing this package imports no SDK: each adapter's module does, when it is asked for."""
