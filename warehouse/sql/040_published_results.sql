create table published_results (
    row_number integer not null,
    paper_table varchar not null,
    dataset varchar,
    method varchar not null,
    variant varchar,
    num_steps integer,
    metric varchar not null,
    value double not null,
    value_printed varchar not null,
    unit_printed varchar,
    unit_corrected varchar,
    higher_is_better boolean,
    source varchar not null,
    primary key (row_number)
);

comment on table published_results is
    'Every number of the paper''s tables (arXiv 2606.11180). Grain: one printed number. The value is as printed; read it in unit_corrected.';

comment on column published_results.row_number is 'Position in published_results.csv, from 1.';
comment on column published_results.paper_table is 'Which table: main_hdtf, ablation_cfg_schedule, hallo3, ...';
comment on column published_results.dataset is 'Evaluation set as printed; null where the number belongs to none.';
comment on column published_results.method is 'Method as printed.';
comment on column published_results.variant is 'Size and ablation settings; null where none.';
comment on column published_results.num_steps is 'Denoising steps; null where the table does not print it.';
comment on column published_results.metric is 'Metric as printed.';
comment on column published_results.value is 'The number.';
comment on column published_results.value_printed is 'The number with the digits that were printed.';
comment on column published_results.unit_printed is 'Unit as printed; null for dimensionless.';
comment on column published_results.unit_corrected is 'Unit that is right: TTFF is printed in ms but is seconds (FPS times TTFF gives whole clips or chunks).';
comment on column published_results.higher_is_better is 'Direction; null where neither end is better.';
comment on column published_results.source is 'Paper and table.';
