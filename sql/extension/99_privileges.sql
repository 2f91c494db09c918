-- Nothing for PUBLIC --------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL TABLES IN SCHEMA imagekit FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA imagekit FROM PUBLIC;
