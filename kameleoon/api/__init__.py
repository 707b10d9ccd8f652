"""
Clients of the service's REST APIs: `kameleoon.api.data` and `kameleoon.api.automation`, each blocking and for asyncio.

They need no SDK client. Import the module you use; importing this package alone loads nothing.
"""
