-- Bookings of the past and of films to come, as the services would have left them: a hundred seats
-- a show, one a booking, ten shows a film, twenty bookings a buyer. :count is a multiple of 1000.
SET session_replication_role = replica;
SET synchronous_commit = off;
CREATE FUNCTION pg_temp.id(what text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(what || n)::uuid $$;

INSERT INTO users (id, email, email_key, name, password_hash)
SELECT pg_temp.id('user', n), n || '@bulk.test', n || '@bulk.test', 'Ada', ''
FROM generate_series(0, %(count)s / 20 - 1) AS n;

INSERT INTO movies (id, source_key, title, released_on)
SELECT pg_temp.id('movie', n), 'bulk ' || n, 'Bulk ' || n, '2026-01-01'
FROM generate_series(0, %(count)s / 1000 - 1) AS n;

INSERT INTO theatres (id, name, city, address, timezone)
SELECT pg_temp.id('theatre', n), 'Bulk ' || n, 'Bulkheim', '', 'Europe/Berlin'
FROM generate_series(0, %(count)s / 1000 - 1) AS n;

INSERT INTO auditoriums (id, theatre_id, name)
SELECT pg_temp.id('auditorium', n), pg_temp.id('theatre', n / 10), 'Screen ' || n %% 10
FROM generate_series(0, %(count)s / 100 - 1) AS n;

INSERT INTO seat_maps (id, auditorium_id, version, capacity)
SELECT pg_temp.id('map', n), pg_temp.id('auditorium', n), 1, 100
FROM generate_series(0, %(count)s / 100 - 1) AS n;

INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at, ends_at,
                   free_at, currency, sales_open_at, sales_close_at)
SELECT pg_temp.id('show', n), pg_temp.id('movie', n / 10), auditoriums.id, auditoriums.number,
       pg_temp.id('map', n), at, at + interval '2 hours', at + interval '2 hours', 'EUR',
       at - interval '30 days', at
FROM generate_series(0, %(count)s / 100 - 1) AS n
JOIN auditoriums ON auditoriums.id = pg_temp.id('auditorium', n)
CROSS JOIN LATERAL (SELECT now() + interval '3 days' + n %% 10 * interval '5 hours' AS at) AS start;

INSERT INTO prices (show_id, price_class, amount)
SELECT pg_temp.id('show', n), 'standard', 1200 FROM generate_series(0, %(count)s / 100 - 1) AS n;

CREATE TEMPORARY TABLE bulk AS
SELECT n, pg_temp.id('booking', n) AS id, pg_temp.id('user', n %% (%(count)s / 20)) AS user_id,
       pg_temp.id('show', n / 100) AS show_id, 'A' || n %% 100 + 1 AS label,
       now() - interval '60 days' + n * (interval '50 days' / %(count)s) AS at
FROM generate_series(0, %(count)s - 1) AS n;

INSERT INTO bookings (id, user_id, show_id, state, version, sequence, currency, total_amount,
                      seat_count, lapses, hold_expires_at, hold_max_expires_at, created_at,
                      updated_at)
SELECT id, user_id, show_id, 'confirmed', 4, 3, 'EUR', 1200, 1, false, at + interval '10 minutes',
       at + interval '30 minutes', at, at FROM bulk;
INSERT INTO booking_seats (booking_id, label, price_class, amount)
SELECT id, label, 'standard', 1200 FROM bulk;
INSERT INTO seat_claims (show_id, label, state, booking_id)
SELECT show_id, label, 'sold', id FROM bulk;
INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types, outcome,
                              created_at)
SELECT id, user_id, show_id, '', ARRAY[label], '{standard}', 'held', at FROM bulk;
INSERT INTO payments (id, booking_id, attempt, provider, session_id, status, amount, currency,
                      expires_at)
SELECT pg_temp.id('payment', n), id, 1, 'sandbox', 'bulk ' || n, 'captured', 1200, 'EUR', at
FROM bulk;
INSERT INTO provider_payments (id, provider, reference, booking_id, payment_id, status, amount,
                               currency, captured, decision, reconciled_at)
SELECT pg_temp.id('paid', n), 'sandbox', 'bulk ' || n, id, pg_temp.id('payment', n), 'captured',
       1200, 'EUR', 1200, 'confirms', at FROM bulk;
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash, created_at)
SELECT id, step, what,
       CASE step WHEN 1 THEN jsonb_build_object('show_id', show_id, 'currency', 'EUR',
                                                'hold_expires_at', at, 'total_amount', 1200)
                 WHEN 2 THEN jsonb_build_object('seats', jsonb_build_array(jsonb_build_object(
                                 'label', label, 'fence', 1, 'amount', 1200)))
                 ELSE '{"provider_payment_id": null}' END,
       'bulk', step + 1, '', '', at
FROM bulk, unnest(ARRAY['ReservationCreated', 'SeatLocked', 'BookingConfirmed'])
           WITH ORDINALITY AS told (what, step);

INSERT INTO projected_listing (generation, show_id, held, sold)
SELECT generation, show_id, 0, count(*) FROM bulk
JOIN projections ON name = 'listing' AND state = 'live' GROUP BY generation, show_id;
INSERT INTO projected_sales (generation, show_id, currency, bookings, confirmed, lapsed, seats_sold,
                             seats_returned, revenue, refunded, charged_back)
SELECT generation, show_id, 'EUR', count(*), count(*), 0, count(*), 0, 1200 * count(*), 0, 0
FROM bulk JOIN projections ON name = 'sales' AND state = 'live' GROUP BY generation, show_id;
-- What reads the events has read these.
UPDATE projections SET xid = last.xid, event_id = last.id
FROM (SELECT xid, id FROM events ORDER BY xid DESC, id DESC LIMIT 1) AS last WHERE state = 'live';
UPDATE partner_feed SET xid = last.xid, event_id = last.id
FROM (SELECT xid, id FROM events ORDER BY xid DESC, id DESC LIMIT 1) AS last;
UPDATE bookings SET user_id = %(buyer)s FROM bulk
WHERE bookings.id = bulk.id AND bulk.n %% (%(count)s / 20) = 7;
