"""The annuaire: the national directory of bal, as its sources publish it.

What must always hold in this package: it reads and looks up; it knows no protocol of ours, no store and no mail.
What the sources publish is official data: kept as published, even where a key is wrong.
"""
