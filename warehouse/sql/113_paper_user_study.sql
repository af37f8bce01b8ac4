create view paper_user_study as
select
    method,
    variant,
    max(value) filter (where metric = 'MOS-Sync') as mos_sync,
    max(value) filter (where metric = 'MOS-Quality') as mos_quality,
    max(value) filter (where metric = 'MOS-Identity') as mos_identity,
    max(value) filter (where metric = 'MOS-Naturalness') as mos_naturalness,
    max(source) as source
from published_results
where paper_table = 'user_study_mos'
group by method, variant
order by min(row_number);

comment on view paper_user_study is
    'Mean opinion scores of the paper''s user study, 1 to 5. Grain: method, variant.';
comment on column paper_user_study.method is 'Method as printed in the paper.';
comment on column paper_user_study.variant is 'Size or preset, and ablation settings; null where none.';
comment on column paper_user_study.mos_sync is 'Mean opinion of lip synchronisation, 1 to 5 (metric MOS-Sync); higher is better.';
comment on column paper_user_study.mos_quality is 'Mean opinion of image quality, 1 to 5 (metric MOS-Quality); higher is better.';
comment on column paper_user_study.mos_identity is 'Mean opinion of how well the person is preserved, 1 to 5 (metric MOS-Identity); higher is better.';
comment on column paper_user_study.mos_naturalness is 'Mean opinion of naturalness, 1 to 5 (metric MOS-Naturalness); higher is better.';
comment on column paper_user_study.source is 'Paper and table.';
