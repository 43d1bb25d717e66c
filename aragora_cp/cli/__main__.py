from aragora_cp.cli import main

if __name__ == "__main__":
    main()
