create table ablation_rows (
    ablation varchar not null,
    position integer not null,
    variant varchar not null,
    label varchar not null,
    paper_table varchar not null,
    method varchar not null,
    printed_variant varchar not null,
    num_steps integer not null,
    primary key (ablation, position)
);

comment on table ablation_rows is
    'The rows of the paper''s ablation tables and the variant that `lipforcing ablate` trains for each. Grain: one printed row. A variant that stands in several tables is trained once.';

comment on column ablation_rows.ablation is 'Name of the ablation, as `lipforcing ablate --table` takes it.';
comment on column ablation_rows.position is 'Position of the row in its table, from 1, as printed.';
comment on column ablation_rows.variant is 'The variant that stands for the row; joins ablation_runs.';
comment on column ablation_rows.label is 'The variant in words.';
comment on column ablation_rows.paper_table is 'The paper''s table; joins published_results.';
comment on column ablation_rows.method is 'Method as printed; joins published_results.';
comment on column ablation_rows.printed_variant is 'Size and ablation settings as printed; joins published_results.variant.';
comment on column ablation_rows.num_steps is 'Denoising steps per chunk; joins published_results.';
