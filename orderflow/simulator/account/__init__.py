"""What an account has beside its sales: endpoints for webhooks, and the files of orders with links to them.

Nothing here changes an order.
"""
