"""The reconciler put together, for the worker and for the command."""

from __future__ import annotations

import psycopg
from temporalio.client import Client

from infra.gateways.assembly import Gateways
from infra.postgres.database import Database
from infra.postgres.reconcile import PostgresProviderBooks
from infra.postgres.uow import PostgresUnitOfWork
from infra.postgres.work import PostgresWorkQueue
from infra.settings import Settings
from infra.temporal import TemporalBookingProcess
from services.payment_news import PaymentNews
from services.preclaim import SeatPreclaims
from services.reconcile import Reconciler
from services.reconcile_refunds import RefundRepair

# A payment that its table or the ledger refuses; everything else is the database's own trouble.
ABOUT_ONE_ROW = (psycopg.DataError, psycopg.IntegrityError)


def make_reconciler(
    settings: Settings,
    database: Database,
    gateways: Gateways,
    client: Client,
    preclaims: SeatPreclaims,
    *,
    dry_run: bool = False,
) -> Reconciler:
    begin, books = PostgresUnitOfWork(database), PostgresProviderBooks(database)
    process = TemporalBookingProcess(client)
    work = PostgresWorkQueue(database, settings.hold_limits)
    news = PaymentNews(begin, gateways, process, work, preclaims)
    repair = RefundRepair(begin, books, process)
    return Reconciler(begin, gateways, news, books, repair, dry_run=dry_run, bad_row=ABOUT_ONE_ROW)
