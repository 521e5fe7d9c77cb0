"""Dead letters as an operator handles them: read, grouped, edited, shown. Pure; ``actions/`` reads them and brings them back."""
