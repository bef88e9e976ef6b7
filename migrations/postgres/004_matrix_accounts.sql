-- Which resident has which account on the homeserver. A row is a claim from the moment somebody sets out to
-- make the account, and a fact once it has been made (provisioned_at).
create table matrix_accounts (
  user_id text primary key,
  matrix_user_id text not null constraint matrix_accounts_matrix_user_id_uq unique,
  display_name text null,
  claimed_at timestamptz not null,
  provisioned_at timestamptz null
);
