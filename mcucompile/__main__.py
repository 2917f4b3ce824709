from mcucompile.cli import main

main()
