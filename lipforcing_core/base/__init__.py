"""What every room stands on: errors, products on disk, user files, settings mistakes, the ledger of stage times."""
